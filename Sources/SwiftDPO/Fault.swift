import CSwiftDPO

/// The name of an argument or a field: a literal, which stays as long as the library does.
struct FieldName: ExpressibleByStringLiteral, @unchecked Sendable {
  let cString: UnsafePointer<CChar>

  @_transparent init(stringLiteral name: StaticString) { cString = name.cString }
}

/// A broken rule: which, by which field, at which element. Three words, so that it is thrown in registers.
struct Fault: Error {
  var status: swiftdpo_status
  var argument: FieldName
  var index: Int

  init(_ status: swiftdpo_status, _ argument: FieldName, at index: Int = 0) {
    self.status = status
    self.argument = argument
    self.index = index
  }

  /// Names the culprit; returns the status.
  @inline(never) fileprivate func reported(to culprit: UnsafeMutablePointer<swiftdpo_culprit>?) -> swiftdpo_status {
    culprit?.pointee = swiftdpo_culprit(argument: argument.cString, index: index)
    return status
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
    return error.reported(to: culprit)
  }
}

/// Fails with `status` unless the rule holds.
@inline(__always)
func require(
  _ rule: Bool, _ status: swiftdpo_status, _ argument: FieldName, at index: Int = 0
) throws(Fault) {
  if !rule { throw Fault(status, argument, at: index) }
}
