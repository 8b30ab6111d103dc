import CSwiftDPO

/// A broken rule: which, by which field, at which element.
struct Fault: Error {
  var status: swiftdpo_status
  var argument: StaticString
  var index: Int

  init(_ status: swiftdpo_status, _ argument: StaticString, at index: Int = 0) {
    self.status = status
    self.argument = argument
    self.index = index
  }
}

/// The skeleton of every exported call: run the body; if it finds a fault, name the culprit and return the status.
@inline(__always)
func answer(
  _ culprit: UnsafeMutablePointer<swiftdpo_culprit>?, _ body: () throws(Fault) -> Void
) -> swiftdpo_status {
  do throws(Fault) {
    try body()
    return SWIFTDPO_OK
  } catch {
    culprit?.pointee = swiftdpo_culprit(
      argument: UnsafeRawPointer(error.argument.utf8Start).assumingMemoryBound(to: CChar.self), index: error.index)
    return error.status
  }
}

/// Fails with `status` unless the rule holds.
@inline(__always)
func require(
  _ rule: Bool, _ status: swiftdpo_status, _ argument: StaticString, at index: Int = 0
) throws(Fault) {
  if !rule { throw Fault(status, argument, at: index) }
}
