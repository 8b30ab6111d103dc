import Elementary
import Preference

/// A loss and its derivatives at a point, given the logistic function at z: the table of losses.
func jet(of loss: PairwiseLossType, _ point: PairPoint, _ z: Logistic) -> PairJet {
  switch loss {
  case .sigmoid, .sigmoidNorm, .aot, .aotUnpaired, .alphaPO: jet(SigmoidLoss.self, point, z)
  case .robust: jet(RobustLoss.self, point, z)
  case .hinge: jet(HingeLoss.self, point, z)
  case .ipo, .ipoNorm: jet(IPOLoss.self, point, z)
  case .exoPair: jet(EXOLoss.self, point, z)
  case .ncaPair: jet(NCALoss.self, point, z)
  case .bcoPair: jet(BCOPairLoss.self, point, z)
  case .sppoHard: jet(SPPOLoss.self, point, z)
  case .apoZero: jet(APOZeroLoss.self, point, z)
  case .apoDown: jet(APODownLoss.self, point, z)
  case .discopop: expectedJet(DiscoPOPLoss.self, point)
  case .rewardBackwardKL: jet(RewardBackwardKLLoss.self, point, z)
  case .rewardForwardKL: jet(RewardForwardKLLoss.self, point, z)
  case .rewardSquared: jet(RewardSquaredLoss.self, point, z)
  case .raoKupper: jet(RaoKupperLoss.self, point, z)
  case .davidson: jet(DavidsonLoss.self, point, z)
  case .oddsRatio: jet(OddsRatioLoss.self, point, z)
  case .slic: jet(SLiCLoss.self, point, z)
  case .sft: PairJet(value: F64x8(repeating: 0), slope: F64x8(repeating: 0), curvature: F64x8(repeating: 0))
  }
}

@inline(__always) private func jet<Loss: MarginLoss>(_ loss: Loss.Type, _ point: PairPoint, _ z: Logistic) -> PairJet {
  loss.jet(point, z)
}

@inline(__always) private func jet<Loss: PairwiseLoss>(
  _ loss: Loss.Type, _ point: PairPoint, _ z: Logistic
) -> PairJet {
  loss.jet(point, z, OutOfLine.logistic(point.chosen), OutOfLine.logistic(point.rejected))
}

@inline(__always) private func jet<Loss: GeneralLoss>(
  _ loss: Loss.Type, _ point: PairPoint, _ z: Logistic
) -> PairJet {
  loss.jet(point, z, OutOfLine.self)
}

@inline(never) private func expectedJet<Loss: SureLoss>(_ loss: Loss.Type, _ point: PairPoint) -> PairJet {
  PairJet(p: point.p, sureJet(loss, point), q: point.q, flipped: sureJet(loss, point.flipped))
}

@inline(never) private func sureJet<Loss: SureLoss>(_ loss: Loss.Type, _ point: PairPoint) -> PairJet {
  jet(loss, point, OutOfLine.logistic(point.z))
}
