// swift-tools-version: 6.3
import PackageDescription

// SWIFTDPO_SANITIZED=address makes the library that sanitizers and fuzzers run (`make test-sanitizers`, `make fuzz`): it
// checks addresses, counts what has been executed, and keeps Swift's own checks in the kernels. With `thread` it reports
// what two threads do to the same memory at once (`make test-races`). Whoever loads it brings the sanitizer's run-time.
let sanitizer = Context.environment["SWIFTDPO_SANITIZED"]
let sanitized = sanitizer != nil
let coverage = "edge,inline-8bit-counters,pc-table,trace-cmp"
let swiftSanitizers =
  switch sanitizer {
  case nil: [String]()
  case "thread": ["-sanitize=thread"]
  default: ["-sanitize=address", "-sanitize-coverage=\(coverage)"]
  }
let cSanitizers =
  switch sanitizer {
  case nil: [String]()
  case "thread": ["-fsanitize=thread"]
  default: ["-fsanitize=address,undefined", "-fsanitize-coverage=\(coverage)"]
  }

// Embedded Swift: no run-time, no Foundation, a library that needs only libc.
let embedded: [SwiftSetting] =
  [
    .enableExperimentalFeature("Embedded"),
    .unsafeFlags([
      "-wmo", "-Xfrontend", "-function-sections",
      // No path of the building machine enters the library: two builds are the same bytes, whatever their folders. For
      // incremental builds the compiler would put hashes of its own into each object, which know the folder.
      "-file-prefix-map", "\(Context.packageDirectory)=.", "-Xfrontend", "-disable-incremental-llvm-codegen",
    ]),
    .unsafeFlags(swiftSanitizers),
  ]

let portable: [CSetting] =
  [.unsafeFlags(["-ffile-prefix-map=\(Context.packageDirectory)=."] + cSanitizers)]

// The kernels are one folder, compiled once for each instruction set through symbolic links. The door picks a build at
// load. Unchecked: their indices were checked at the door. The baseline is for machines that are hardly left: it is the
// smallest code, no faster than that allows.
func kernels(
  _ name: String, define: String..., march: String, optimize: [String] = ["-Ounchecked"], without exclude: [String] = []
) -> Target {
  .target(
    name: name,
    dependencies: ["CPlatform", "CKernelChoice", "Elementary", "Preference"],
    exclude: exclude,
    swiftSettings: embedded + define.map { .define($0) } + [
      .unsafeFlags((sanitized ? ["-O"] : optimize) + ["-Xcc", "-march=\(march)"])
    ])
}

let package = Package(
  name: "swiftdpo",
  products: [
    .library(name: "swiftdpo", type: .dynamic, targets: ["SwiftDPO"])
  ],
  targets: [
    // The contract: include/swiftdpo.h, written by hand.
    .systemLibrary(name: "CSwiftDPO", path: "include"),

    // Implementation details, from the bottom up.
    .target(name: "CPlatform", cSettings: portable),
    .target(name: "CKernelChoice", dependencies: ["CPlatform"], cSettings: portable),
    .target(name: "Elementary", dependencies: ["CPlatform"], swiftSettings: embedded),
    .target(name: "Preference", dependencies: ["Elementary"], swiftSettings: embedded),
    kernels(
      "Kernels", define: "KERNELS_BASELINE", "KERNELS_COMPACT", march: "x86-64",
      optimize: ["-Osize", "-Xfrontend", "-remove-runtime-asserts"], without: ["Seldom/PairwiseOfLogRatios.swift"]),
    kernels("KernelsAVX2", define: "KERNELS_AVX2", march: "x86-64-v3"),
    kernels("KernelsAVX512", define: "KERNELS_AVX512", march: "x86-64-v4", without: ["Seldom"]),

    // The door: the functions of the header.
    .target(
      name: "SwiftDPO",
      // The baseline comes first: where the linker finds a helper of the standard library in several builds of the
      // kernels, it keeps the first, and that one must run on every machine.
      dependencies: [
        "CSwiftDPO", "CPlatform", "CKernelChoice", "Elementary", "Preference", "Kernels", "KernelsAVX2",
        "KernelsAVX512",
      ],
      exclude: ["exports.map"],
      // What a call costs is in a few functions, which ask for speed; all others check and hand over.
      swiftSettings: embedded + [.unsafeFlags(["-Osize"])],
      linkerSettings: [
        .linkedLibrary("m"),
        .unsafeFlags(
          (sanitized ? [] : ["-Xlinker", "-z", "-Xlinker", "defs"]) + [
            // Swift's own linker: the same on every machine.
            "-use-ld=lld",
            "-Xlinker", "-soname=libswiftdpo.so.0",
            "-Xlinker", "--version-script=\(Context.packageDirectory)/Sources/SwiftDPO/exports.map",
            "-Xlinker", "--gc-sections", "-Xlinker", "--strip-debug",
            // The workers run the library's code: it stays until the process ends.
            "-Xlinker", "-z", "-Xlinker", "nodelete",
          ]),
      ]),

    // `make test-exhaustive`: the elementary functions over every float.
    .target(
      name: "ElementaryProbe", dependencies: ["Elementary"], path: "Tests/Exhaustive/Probe", swiftSettings: embedded),
    .executableTarget(
      name: "exhaustive", dependencies: ["ElementaryProbe"], path: "Tests/Exhaustive/Check",
      linkerSettings: [.linkedLibrary("m")]),

    // The tests link the library as any user would, and never its objects: build the product `swiftdpo` first.
    .testTarget(
      name: "SwiftDPOTests",
      dependencies: ["CSwiftDPO"],
      linkerSettings: [
        .linkedLibrary("swiftdpo"),
        .unsafeFlags([
          "-L\(Context.packageDirectory)/.build/release",
          "-Xlinker", "-rpath=\(Context.packageDirectory)/.build/release",
        ]),
      ]),
  ]
)
