import CPlatform
import CSwiftDPO
import Elementary

/// Who multiplies matrices: the caller's function, or a BLAS.
struct MatrixProduct {
  private let blas: UnsafePointer<platform_blas>?
  private let custom: swiftdpo_gemm?
  private let context: UnsafeMutableRawPointer?
  /// Matrices of bf16 are multiplied as they are.
  let takesBF16: Bool

  init(_ options: swiftdpo_fused_options) throws(Fault) {
    custom = options.gemm
    context = options.gemm_context
    if custom == nil {
      guard let found = platform_current_blas() else { throw Fault(SWIFTDPO_ERROR_BLAS, "gemm") }
      blas = found
      takesBF16 = found.pointee.bf16_gemm != nil
    } else {
      blas = nil
      takesBF16 = false
    }
  }

  /// Several threads may multiply at once, between `begin` and `end`: each product runs on the thread that asks for it.
  var isConcurrent: Bool { blas?.pointee.threads != nil }

  func begin() { if isConcurrent { platform_begin_products(blas) } }

  func end() { if isConcurrent { platform_end_products(blas) } }

  /// A matrix in rows of `stride` elements, to be read as it lies or transposed.
  struct Operand {
    var start: UnsafeRawPointer
    var stride: Int
    var transposed = false
  }

  /// c[m, n] = a b + beta c, with k the length of the sums.
  func callAsFunction(
    _ m: Int, _ n: Int, _ k: Int, _ type: ElementType, _ a: Operand, _ b: Operand, beta: Float,
    _ c: UnsafeMutablePointer<Float>, _ stride: Int
  ) {
    if let custom {
      custom(
        context, a.transposed ? 1 : 0, b.transposed ? 1 : 0, m, n, k, a.start.assumingMemoryBound(to: Float.self),
        a.stride, b.start.assumingMemoryBound(to: Float.self), b.stride, beta, c, stride)
    } else {
      platform_multiply(
        blas, type == .bf16 ? 1 : 0, a.transposed ? 1 : 0, b.transposed ? 1 : 0, m, n, k, a.start, a.stride, b.start,
        b.stride, beta, c, stride)
    }
  }
}

@_cdecl("swiftdpo_use_blas") @implementation
public func swiftdpo_use_blas(
  _ path: UnsafePointer<CChar>!, _ culprit: UnsafeMutablePointer<swiftdpo_culprit>!
) -> swiftdpo_status {
  answer(culprit) { () throws(Fault) in try require(platform_use_blas(path) != nil, SWIFTDPO_ERROR_BLAS, "path") }
}

@_cdecl("swiftdpo_blas_info") @implementation
public func swiftdpo_blas_info(_ blas: UnsafeMutablePointer<swiftdpo_blas>!) -> swiftdpo_status {
  answer(nil) { () throws(Fault) in
    _ = try read(UnsafePointer(blas), "blas")
    guard let found = platform_current_blas() else { throw Fault(SWIFTDPO_ERROR_BLAS, "blas") }
    update(blas) { info in
      info.path = found.pointee.path
      info.function = found.pointee.function
      info.integer_bits = found.pointee.integer_bits
      info.has_bf16_gemm = found.pointee.bf16_gemm == nil ? 0 : 1
    }
  }
}

extension swiftdpo_blas: GrowableStruct {}
