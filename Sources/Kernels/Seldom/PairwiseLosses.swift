import Elementary
import Preference

/// A loss and its derivatives at a point: the table of losses.
func jet(of loss: PairwiseLossType, _ point: PairPoint) -> PairJet {
  switch loss {
  case .sigmoid, .sigmoidNorm, .aot, .aotUnpaired, .alphaPO: jet(SigmoidLoss.self, point)
  case .robust: jet(RobustLoss.self, point)
  case .hinge: jet(HingeLoss.self, point)
  case .ipo, .ipoNorm: jet(IPOLoss.self, point)
  case .exoPair: jet(EXOLoss.self, point)
  case .ncaPair: jet(NCALoss.self, point)
  case .bcoPair: jet(BCOPairLoss.self, point)
  case .sppoHard: jet(SPPOLoss.self, point)
  case .apoZero: jet(APOZeroLoss.self, point)
  case .apoDown: jet(APODownLoss.self, point)
  case .discopop: expectedJet(DiscoPOPLoss.self, point)
  case .rewardBackwardKL: jet(RewardBackwardKLLoss.self, point)
  case .rewardForwardKL: jet(RewardForwardKLLoss.self, point)
  case .rewardSquared: jet(RewardSquaredLoss.self, point)
  case .raoKupper: jet(RaoKupperLoss.self, point)
  case .davidson: jet(DavidsonLoss.self, point)
  case .oddsRatio: jet(OddsRatioLoss.self, point)
  case .slic: jet(SLiCLoss.self, point)
  case .sft: PairJet(value: F64x8(repeating: 0), slope: F64x8(repeating: 0), curvature: F64x8(repeating: 0))
  }
}

@inline(__always) private func jet<Loss: MarginLoss>(_ loss: Loss.Type, _ point: PairPoint) -> PairJet {
  loss.jet(point, OutOfLine.logistic(point.z))
}

@inline(__always) private func jet<Loss: PairwiseLoss>(_ loss: Loss.Type, _ point: PairPoint) -> PairJet {
  let (first, second) = loss.points(point)
  return loss.jet(point, OutOfLine.logistic(point.z), OutOfLine.logistic(first), OutOfLine.logistic(second))
}

@inline(__always) private func jet<Loss: GeneralLoss>(_ loss: Loss.Type, _ point: PairPoint) -> PairJet {
  loss.jet(point, OutOfLine.logistic(point.z), OutOfLine.self)
}

@inline(never) private func expectedJet<Loss: SureLoss>(_ loss: Loss.Type, _ point: PairPoint) -> PairJet {
  PairJet(p: point.p, sureJet(loss, point), q: point.q, flipped: sureJet(loss, point.flipped))
}

@inline(never) private func sureJet<Loss: SureLoss>(_ loss: Loss.Type, _ point: PairPoint) -> PairJet {
  jet(loss, point)
}
