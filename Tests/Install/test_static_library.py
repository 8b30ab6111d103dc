"""libswiftdpo.a: one object that shows the header's functions alone, beside any other Swift run-time."""

import re
from pathlib import Path

import pytest
from installed import HERE, ROOT, STRICT, make_install, run

# Of Swift's run-time, functions that the library has small copies of and that every larger program calls.
RUN_TIME = {"swift_allocObject", "swift_retain", "swift_release"}


def symbols(path: Path, *options: str) -> dict[str, set[str]]:
    """The names of each kind, as nm marks them."""
    kinds: dict[str, set[str]] = {}
    for line in run("nm", "--format=posix", *options, path).splitlines():
        if match := re.match(r"(\S+) (\w)(?: |$)", line):
            kinds.setdefault(match[2], set()).add(match[1].partition("@")[0])
    return kinds


def test_it_shows_the_functions_of_the_shared_library_and_no_others(prefix: Path) -> None:
    shared = symbols(prefix / "lib/libswiftdpo.so", "--dynamic", "--defined-only")["T"]
    static = symbols(prefix / "lib/libswiftdpo.a", "--extern-only", "--defined-only")
    assert static == {"T": shared}


def test_its_own_run_time_is_local(prefix: Path) -> None:
    assert symbols(prefix / "lib/libswiftdpo.a")["t"] >= RUN_TIME


def test_it_needs_only_libc_and_libm(prefix: Path, tmp_path: Path) -> None:
    """A program without any shared library: what pkg-config says for --static is all it takes."""
    make_install(f"PREFIX={tmp_path}")
    search = {"PKG_CONFIG_PATH": str(tmp_path / "lib/pkgconfig")}
    flags = run("pkg-config", "--static", "--cflags", "--libs", "swiftdpo", **search).split()
    program = tmp_path / "program"
    run("cc", "-std=c11", "-static", *STRICT, HERE / "consumer.c", *flags, "-o", program)
    assert "NEEDED" not in run("readelf", "--dynamic", program)
    assert "0.598138869382" in run(program)
    assert "0.598138869382" in run(program, SWIFTDPO_ISA="baseline")


def test_two_plug_ins_with_a_library_each(prefix: Path, tmp_path: Path) -> None:
    """Neither shows it to the other, and both stay until the process ends, as the library's threads do."""
    source = tmp_path / "plugin.c"
    source.write_text(
        "#include <swiftdpo.h>\n"
        "static const char *version(void) { swiftdpo_build b = SWIFTDPO_BUILD_INIT; "
        "return swiftdpo_build_info(&b) == SWIFTDPO_OK ? b.version : 0; }\n"
        '__attribute__((visibility("default"))) const char *plugin_version(void) { return version(); }\n'
    )
    link = ["-Wl,--exclude-libs,libswiftdpo.a", "-Wl,-z,nodelete", "-lm"]
    for name in "first", "second":
        plugin = tmp_path / f"{name}.so"
        archive = prefix / "lib/libswiftdpo.a"
        run("cc", "-shared", "-fPIC", f"-I{prefix / 'include'}", source, archive, *link, "-o", plugin)
        assert symbols(plugin, "--dynamic", "--defined-only") == {"T": {"plugin_version"}}
    program = (
        "import ctypes, sys\n"
        "for path in sys.argv[1:]:\n"
        "    plugin = ctypes.CDLL(path)\n"
        "    plugin.plugin_version.restype = ctypes.c_char_p\n"
        "    print(plugin.plugin_version().decode())\n"
    )
    output = run("python3", "-c", program, tmp_path / "first.so", tmp_path / "second.so")
    assert len(set(output.split())) == 1 and len(output.split()) == 2


@pytest.mark.parametrize(("run_time", "kinds"), [("-no-static-stdlib", "tU"), ("-static-stdlib", "tt")])
def test_in_a_swift_program(prefix: Path, tmp_path: Path, run_time: str, kinds: str) -> None:
    """The program's classes and arrays live by its own run-time, the library by its copies: both there."""
    program = tmp_path / "program"
    module = [f"-I{prefix / 'lib/swiftdpo/static'}", f"-L{prefix / 'lib'}"]
    run("swiftc", "-O", run_time, *module, ROOT / "examples/swift/bigrams.swift", "-o", program)
    table = run("nm", "--format=posix", program)
    for name in RUN_TIME:
        assert sorted(re.findall(rf"^{name} (\w)", table, re.MULTILINE), reverse=True) == list(kinds), name
    assert "libswiftdpo" not in run("readelf", "--dynamic", program)
    assert run(program) == "loss 0.187, reward margin 1.5817\n"
