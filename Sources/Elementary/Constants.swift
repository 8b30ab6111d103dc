/// ln 2 and log2 e, rounded to double precision.
@_transparent public var ln2: Double { 0x1.62e42fefa39efp-1 }
@_transparent public var log2e: Double { 0x1.71547652b82fep0 }
