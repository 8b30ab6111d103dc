import CPlatform
import CSwiftDPO
import Elementary

// Work on all cores. A call is cut into tasks by its data alone, never by the number of threads, and each task writes
// its own results: so the number of threads changes nothing but the time.

/// Runs `body(task)` for each task in 0..<tasks, on this thread and, if there are several, on workers.
@inline(never)
func parallel(_ tasks: Int, _ body: (Int) -> Void) {
  if tasks == 1 { body(0) } else { parallel(tasks, sideBySide: true, body) }
}

/// The same for long tasks, which need no shorter way for one alone: that would be their code once more.
///
/// - Parameter sideBySide: false for tasks that are to come one after the other.
@inline(never)
func parallel(_ tasks: Int, sideBySide: Bool, _ body: (Int) -> Void) {
  // What checks that the closure does not escape is told the file's name, whose length would be that of the folder the
  // library was built in: it shall be the same bytes everywhere.
  #sourceLocation(file:"Threads.swift",line:1)
  withoutActuallyEscaping(body) { body in
    withUnsafePointer(to: body) { pointer in
      platform_parallel(
        tasks, sideBySide ? Threads.count : 1,
        { context, task in context!.assumingMemoryBound(to: ((Int) -> Void).self).pointee(task) },
        UnsafeMutableRawPointer(mutating: UnsafeRawPointer(pointer)))
    }
  }
  #sourceLocation()
}

/// Runs `body(task, place)` for long tasks, which are begun in their order. At most `places` of them are at work at once,
/// each in a place of its own.
@inline(never)
func parallel(_ tasks: Int, places: Int, sideBySide: Bool, _ body: (_ task: Int, _ place: Int) -> Void) {
  var begun = 0
  withUnsafeMutablePointer(to: &begun) { begun in
    parallel(min(places, tasks), sideBySide: sideBySide) { place in
      while true {
        let task = platform_take_number(begun)
        if task >= tasks { return }
        body(task, place)
      }
    }
  }
}

/// Runs `body` over 0..<count in ranges of `grain` elements, the last one shorter: the same ranges on every machine.
@inline(never)
func parallelRanges(_ count: Int, grain: Int, _ body: (Range<Int>) -> Void) {
  parallel(count / grain + (count % grain == 0 ? 0 : 1)) { task in
    let start = task * grain
    body(start..<(count - start > grain ? start + grain : count))
  }
}

/// How many threads a call may use.
enum Threads {
  static let most: Int32 = 1024

  static var count: Int32 {
    let chosen = platform_threads()
    if chosen > 0 { return chosen }
    let initial = initialCount()
    platform_set_threads(initial)
    return initial
  }

  private static func initialCount() -> Int32 {
    if let wish = getenv("SWIFTDPO_NUM_THREADS") {
      let number = strtol(wish, nil, 10)
      if number >= 1 && number <= Int(most) { return Int32(number) }
    }
    return platform_processors()
  }
}

@_cdecl("swiftdpo_set_num_threads") @implementation
public func swiftdpo_set_num_threads(_ threads: Int32) -> swiftdpo_status {
  if threads < 0 || threads > Threads.most { return SWIFTDPO_ERROR_THREADS }
  platform_set_threads(threads)
  return SWIFTDPO_OK
}

@_cdecl("swiftdpo_num_threads") @implementation
public func swiftdpo_num_threads() -> Int32 { Threads.count }

/// Adds up what `body` leaves for each of at most 64 tasks, in their order.
@inline(never)
func sumOfTasks(_ count: Int, _ body: (UnsafeMutablePointer<FixedOrderSum>) -> Void) -> FixedOrderSum {
  var sums = InlineArray<64, FixedOrderSum>(repeating: FixedOrderSum())
  withUnsafeMutablePointer(to: &sums) { pointer in
    body(UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: FixedOrderSum.self))
  }
  var total = FixedOrderSum()
  for task in 0..<count { total.add(sums[task]) }
  return total
}
