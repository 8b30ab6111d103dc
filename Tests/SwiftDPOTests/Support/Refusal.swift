import CSwiftDPO

/// A call that failed: its status, and whom it blames.
struct Refusal: Error, Equatable, CustomStringConvertible {
  var status: swiftdpo_status
  var argument: String
  var index: Int

  init(_ status: swiftdpo_status, _ argument: String, _ index: Int = 0) {
    self.status = status
    self.argument = argument
    self.index = index
  }

  var description: String { "\(argument)[\(index)]: \(String(cString: swiftdpo_status_string(status)))" }
}

/// Makes a call, and throws what it answers unless that is SWIFTDPO_OK.
func check(_ call: (UnsafeMutablePointer<swiftdpo_culprit>) -> swiftdpo_status) throws(Refusal) {
  var culprit = swiftdpo_culprit()
  let status = call(&culprit)
  if status != SWIFTDPO_OK { throw Refusal(status, culprit.argument.map { String(cString: $0) } ?? "", culprit.index) }
}
