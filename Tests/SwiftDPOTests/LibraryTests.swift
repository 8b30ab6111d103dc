import CSwiftDPO
import Testing

@Suite struct LibraryTests {
  @Test func `header and library are of one version`() {
    #expect(
      swiftdpo_version()
        == UInt32(SWIFTDPO_VERSION_MAJOR * 10000 + SWIFTDPO_VERSION_MINOR * 100 + SWIFTDPO_VERSION_PATCH))
    #expect(swiftdpo_abi_version() == UInt32(SWIFTDPO_ABI_VERSION))
  }

  @Test func `the build says what it is`() throws {
    var build = swiftdpo_build()
    build.struct_size = MemoryLayout<swiftdpo_build>.size
    #expect(swiftdpo_build_info(&build) == SWIFTDPO_OK)
    #expect(
      String(cString: build.version) == "\(SWIFTDPO_VERSION_MAJOR).\(SWIFTDPO_VERSION_MINOR).\(SWIFTDPO_VERSION_PATCH)")
    #expect(String(cString: build.compiler).hasPrefix("Swift "))
    #expect(["baseline", "avx2", "avx512", "neon"].contains(String(cString: build.instruction_set)))
    #expect(build.num_threads == swiftdpo_num_threads())
  }

  @Test func `every status has a sentence, and so has every other number`() {
    let groups = [0...0, 10...16, 20...29, 30...35, 40...42, 51...56, 60...64, 70...77]
    let known = groups.flatMap { Array($0) }
    func sentence(_ value: UInt32) -> String { String(cString: swiftdpo_status_string(swiftdpo_status(value))) }
    #expect(Set(known.map { sentence(UInt32($0)) }).count == known.count)
    for value: UInt32 in [1, 9, 17, 36, 50, 1000, .max] { #expect(sentence(value) == sentence(99)) }
  }

  @Test func `an init function sets what the manual says`() {
    var options = swiftdpo_logps_options()
    swiftdpo_logps_options_init(&options)
    #expect(options.struct_size == MemoryLayout<swiftdpo_logps_options>.stride)
    #expect(options.ignore_index == -100)
    #expect(options.shift == 1)
    #expect(options.average == 0)
    #expect(options.logit_scale == 1)
    #expect(options.softcap == 0)
    #expect(options.ld_alpha == 1)
    #expect(options.nonfinite == SWIFTDPO_NONFINITE_ERROR)
  }
}
