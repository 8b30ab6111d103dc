import Elementary
import Preference

// What several kernels need once or twice for each row: one copy in each build.

@inline(never) func total(_ sum: FixedOrderSum) -> DoubleDouble { sum.total }

/// Adds the first `count` lanes. Of infinities of opposite sign, the first stands.
@inline(never)
func accumulate(_ values: F64x8, _ count: Int, _ sum: inout FixedOrderSum) {
  let values = count == 8 ? values : values.firstLanes(count)
  let saturated = sum.lanes.high.saturatingSum(values)
  sum.add(values)
  sum.lanes.high = saturated
}
