import Elementary
import Preference

/// Sums over a row of samples' rewards.
func partitionSums(_ job: UnsafePointer<ResponsesJob>, _ row: Int) -> PartitionSums {
  var samples = TiltedRow(job, row)
  samples.findBest()
  var weight = FixedOrderSum()
  var square = FixedOrderSum()
  var column = 0
  while column < job.pointee.length {
    let share = OutOfLine.exp(samples.block(column).score)
    weight.add(share)
    square.add(DoubleDouble.product(share, share))
    column += 8
  }
  return PartitionSums(
    beta: samples.beta, count: F64x8(repeating: Double(job.pointee.length)), best: samples.best, weight: total(weight),
    square: total(square))
}
