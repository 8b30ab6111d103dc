/// The losses over pairs, numbered as swiftdpo_loss_type is. Kernels/Seldom/PairwiseLosses.swift says which type computes each.
public enum PairwiseLossType: Int32 {
  case sigmoid = 0
  case robust = 1
  case hinge = 2
  case ipo = 3
  case exoPair = 4
  case ncaPair = 5
  case bcoPair = 6
  case sppoHard = 7
  case aot = 8
  case aotUnpaired = 9
  case apoZero = 10
  case apoDown = 11
  case discopop = 12
  case sigmoidNorm = 13
  case sft = 14
  case ipoNorm = 15
  case rewardBackwardKL = 16
  case rewardForwardKL = 17
  case rewardSquared = 18
  case raoKupper = 19
  case davidson = 20
  case alphaPO = 21
  case oddsRatio = 22
  case slic = 23
}
