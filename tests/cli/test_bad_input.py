"""What bad input gets: exit code 2, a message that says where, what and what to do, and nothing lost.

Line by line section 10 of the design. Each case runs the real command on a folder that holds a small model
(`net.onnx`) and a recipe that quantizes it (`r.yaml`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from PIL import Image

IMAGES = """<ir_version: 8, opset_import: ["": 17]> net (float[N, 3, 8, 8] x) => (float[N, 3, 1, 1] y)
{ y = GlobalAveragePool(x) }"""


@pytest.fixture
def refused(command: Any, folder: Path) -> Callable[..., str]:
    """Return what runs a command that must be refused, and gives the message after `error: `."""

    def run(name: str, *arguments: object) -> str:
        before = contents(folder)
        ran = command(name, *arguments)
        assert ran.code == 2, (ran.out, ran.err)
        assert ran.out == ""
        assert ran.err.startswith("error: ")
        assert "Traceback" not in ran.err
        assert "internal error" not in ran.err
        assert contents(folder) == before
        return str(ran.err.removeprefix("error: "))

    return run


def contents(folder: Path) -> dict[str, object]:
    """Return every path below a folder, files with their bytes, links with their targets."""
    return {
        str(path.relative_to(folder)): path.readlink()
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in sorted(folder.rglob("*"))
    }


def edited(edit: Callable[[onnx.ModelProto], object], name: str = "net.onnx") -> None:
    """Change the model in the current folder."""
    proto = onnx.load("net.onnx")
    edit(proto)
    Path(name).write_bytes(proto.SerializeToString())


# --- models -------------------------------------------------------------------------------------------------


def not_onnx() -> None:
    Path("net.onnx").write_text("hello, this is no model at all")


def truncated() -> None:
    Path("net.onnx").write_bytes(Path("net.onnx").read_bytes()[:1500])


def empty() -> None:
    Path("net.onnx").write_bytes(b"")


def missing() -> None:
    Path("net.onnx").unlink()


def external(location: str = "net.bin") -> None:
    """Move the weights to net.bin, and say that they lie at `location`."""
    onnx.save(
        onnx.load("net.onnx"), "net.onnx", save_as_external_data=True, location="net.bin", size_threshold=0
    )
    proto = onnx.load("net.onnx", load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    Path("net.onnx").write_bytes(proto.SerializeToString())


def missing_weights() -> None:
    external("gone.bin")


def short_weights() -> None:
    external()
    Path("net.bin").write_bytes(Path("net.bin").read_bytes()[:100])


def weights_above() -> None:
    external("../net.bin")
    Path("../net.bin").write_bytes(Path("net.bin").read_bytes())


def weights_absolute() -> None:
    external(str(Path("net.bin").resolve()))


def weights_linked_away() -> None:
    external("link.bin")
    Path("net.bin").rename("../net.bin")
    Path("link.bin").symlink_to("../net.bin")


def unknown_opset() -> None:
    edited(lambda proto: setattr(proto.opset_import[0], "version", 99))


def unknown_domain() -> None:
    def edit(proto: onnx.ModelProto) -> None:
        proto.graph.node[1].domain = "com.acme"
        proto.opset_import.add(domain="com.acme", version=1)

    edited(edit)


def unknown_operator() -> None:
    edited(lambda proto: setattr(proto.graph.node[1], "op_type", "Reluu"))


def free_dimension() -> None:
    edited(lambda proto: setattr(proto.graph.input[0].type.tensor_type.shape.dim[1], "dim_param", "length"))


MODELS = [
    (not_onnx, ["not an ONNX file", "copy is complete"]),
    (truncated, ["not an ONNX file, or cut short", "copy is complete"]),
    (empty, ["the file is empty", "export it again"]),
    (missing, ["no such file", "Check the spelling"]),
    (missing_weights, ["'gone.bin' is missing", "beside the model"]),
    (short_weights, ["'net.bin' is too short: needs", "has 100", "copy is complete"]),
    (weights_above, ["'../net.bin' leaves the model's folder", "Only files beside the model"]),
    (weights_absolute, ["leaves the model's folder", "Only files beside the model"]),
    (weights_linked_away, ["is a link that leaves the model's folder", "Copy the file"]),
    (unknown_opset, ["opset 99 is not supported", "Install a newer onnx"]),
    (unknown_domain, ["operator Relu of unknown domain 'com.acme'", "standard operators"]),
    (unknown_operator, ["opset 17 has no operator 'Reluu'", "standard operators"]),
    (free_dimension, ["input 'x' [N, length] has free dimensions: 'length'", "--shape x=1x?"]),
]


@pytest.mark.parametrize(("damage", "said"), MODELS, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize(
    "arguments",
    [
        ("optimize", "net.onnx", "-c", "r.yaml"),
        ("pare", "inspect", "net.onnx"),
        ("pare", "bench", "net.onnx"),
    ],
    ids=" ".join,
)
def test_models(
    refused: Any, damage: Callable[[], None], said: Sequence[str], arguments: Sequence[str]
) -> None:
    damage()
    error = refused(*arguments)
    assert error.startswith("net.onnx: ")
    expected = ["no such file"] if (damage, arguments[1]) == (missing, "bench") else said
    assert [text for text in expected if text not in error] == []


def test_compare_says_which_model(refused: Any) -> None:
    Path("b.onnx").write_text("no model")
    assert refused("pare", "compare", "net.onnx", "b.onnx").startswith("b.onnx: not an ONNX file")


def test_a_shape_makes_a_free_dimension_known(command: Any, folder: Path) -> None:
    Path("free.onnx").write_bytes(
        onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["": 17]> g (float[N, L] x) => (float[N, L] y) { y = Relu(x) }'
        ).SerializeToString()
    )
    ran = command("optimize", "free.onnx", "-c", "r.yaml", "--shape", "x=1x7", "--dry-run")
    assert (ran.code, ran.err) == (0, "")
    assert "x 1x7" in ran.out


def test_shapes_that_make_no_sense(refused: Any) -> None:
    run = ("optimize", "net.onnx", "-c", "r.yaml", "--shape")
    for shape, said in {
        "x": "--shape 'x': expected the input's name and its dimensions",
        "x=1xa": "--shape 'x=1xa': expected",
        "z=1x16": "the model has no input 'z'",
        "x=1x17": "shape 1×17 for input 'x': the model's is ?×16",
    }.items():
        assert said in refused(*run, shape)


@pytest.mark.parametrize("recipe", ["r.yaml", "int8"])
def test_a_model_that_is_quantized_already_is_left_alone(command: Any, folder: Path, recipe: str) -> None:
    settings = ("benchmark.profiles=[]", "passes.quantize_int8.select=all")
    run = ("-c", recipe, *(f"--set={setting}" for setting in settings), "-o")
    assert command("optimize", "net.onnx", *run, "int8.onnx").code == 0
    ran = command("optimize", "int8.onnx", *run, "again.onnx")
    assert (ran.code, ran.err) == (0, "")
    assert "the model is quantized already" in ran.out
    assert Path("again.onnx").read_bytes() == Path("int8.onnx").read_bytes()


# --- calibration and labelled data --------------------------------------------------------------------------


def vectors(count: int = 6) -> Any:
    return np.random.default_rng(0).normal(size=(count, 16)).astype(np.float32)


def with_one(value: float) -> Any:
    data = vectors()
    data[3, 5] = value
    return data


ARRAYS: list[tuple[str, Callable[[], dict[str, Any]], list[str]]] = [
    ("shape", lambda: {"x": vectors()[:, :9]}, ["'x': has shape 6×9", "takes N×16"]),
    ("rank", lambda: {"x": vectors()[None]}, ["'x': has shape 1×6×16", "takes N×16"]),
    ("dtype", lambda: {"x": vectors().astype(np.int64)}, ["holds int64", "astype('float32')"]),
    ("text", lambda: {"x": np.array(["a", "b"])}, ["not numbers", "Save it as float32"]),
    ("objects", lambda: {"x": np.array([None, 1], dtype=object)}, ["pickled Python objects"]),
    ("none", lambda: {"x": vectors(0)}, ["holds no samples"]),
    (
        "nan",
        lambda: {"x": with_one(np.nan)},
        ["sample 3 (counted from 0) holds NaN", "Leave such samples out"],
    ),
    ("infinite", lambda: {"x": with_one(np.inf)}, ["sample 3 (counted from 0) holds infinite"]),
    ("name", lambda: {"image": vectors()}, ["nothing for the input 'x'", "found 'image'"]),
]


@pytest.mark.parametrize(("name", "arrays", "said"), ARRAYS, ids=[case[0] for case in ARRAYS])
def test_calibration_arrays(
    refused: Any, name: str, arrays: Callable[[], dict[str, Any]], said: Sequence[str]
) -> None:
    np.savez("cal.npz", **arrays())
    error = refused("optimize", "net.onnx", "-c", "r.yaml", "--calibration", "cal.npz")
    assert error.startswith("cal.npz: ")
    assert [text for text in said if text not in error] == []


def test_inputs_of_different_counts(refused: Any) -> None:
    two = '<ir_version: 8, opset_import: ["": 17]> g (float[N, 4] p, float[N, 4] q) => (float[N, 4] y)'
    proto = onnx.parser.parse_model(two + "{ y = Add(p, q) }")
    Path("two.onnx").write_bytes(proto.SerializeToString())
    np.savez("cal.npz", p=vectors()[:, :4], q=vectors(5)[:, :4])
    error = refused("optimize", "two.onnx", "-c", "r.yaml", "--calibration", "cal.npz")
    assert error.startswith("cal.npz: ")
    assert "6" in error
    assert "5" in error


LABELS = [
    (lambda: {"x": vectors(), "y": np.arange(5)}, "5 labels in 'y' for 6 samples"),
    (lambda: {"x": vectors(), "y": np.arange(6)}, "the label 5 is out of range; labels are 0 to 4"),
    (lambda: {"x": vectors(), "y": np.linspace(0, 1, 6)}, "'y' has type float64"),
    (lambda: {"x": vectors()}, "holds no labels 'y'"),
]


@pytest.mark.parametrize(("arrays", "said"), LABELS)
def test_labelled_arrays(refused: Any, arrays: Callable[[], dict[str, Any]], said: str) -> None:
    np.savez("val.npz", **arrays())
    error = refused("optimize", "net.onnx", "-c", "r.yaml", "--eval", "val.npz")
    assert error.startswith("val.npz: ")
    assert said in error


def test_data_that_is_not_there_or_damaged(refused: Any) -> None:
    Path("empty").mkdir()
    Path("texts").mkdir()
    Path("texts/notes.txt").write_text("no data")
    Path("cut.npz").write_bytes(b"PK\x03\x04" + bytes(50))
    Path("empty.npz").touch()
    for path, said in {
        "none": "none: no such file or folder",
        "empty": "empty: the folder is empty",
        "texts": "texts: holds no images, .npy files or test data sets",
        "cut.npz": "cut.npz: not a readable .npz file, or cut short",
        "empty.npz": "empty.npz: the file is empty",
        "net.onnx": "net.onnx: not a known kind of data",
    }.items():
        for flag in ("--calibration",) if path == "texts" else ("--calibration", "--eval"):
            error = refused("optimize", "net.onnx", "-c", "r.yaml", flag, path)
            assert error.startswith(said if flag == "--calibration" else path), error


@pytest.fixture
def images(folder: Path) -> Path:
    """Return a folder of one image and two files that are none, beside a model that takes images."""
    Path("images.onnx").write_bytes(onnx.parser.parse_model(IMAGES).SerializeToString())
    Path("photos").mkdir()
    Image.new("RGB", (20, 20), (200, 10, 10)).save("photos/good.png")
    Path("photos/broken.jpg").write_bytes(b"no image")
    Path("photos/empty.png").touch()
    return Path("photos")


def test_images_that_do_not_decode_are_named_and_counted(command: Any, images: Path) -> None:
    run = ("optimize", "images.onnx", "-c", "simplify", "--calibration", images, "--preprocess", "unit")
    for dry in (("--dry-run",), ()):
        ran = command(*run, *dry, "--set", "benchmark.profiles=[]")
        assert (ran.code, ran.err) == (0, "")
        (warning,) = (line for line in ran.out.splitlines() if line.startswith("warning"))
        for said in ("2 of 3 images do not decode", "broken.jpg", "empty.png", "left out"):
            assert said in warning


def test_images_none_of_which_decodes(refused: Any, images: Path) -> None:
    (images / "good.png").unlink()
    run = ("optimize", "images.onnx", "-c", "r.yaml", "--calibration", images, "--preprocess", "unit")
    error = refused(*run)
    for said in ("photos: 2 of 2 images do not decode", "broken.jpg", "empty.png", "copy is complete"):
        assert said in error


def test_images_and_nothing_that_says_how_to_read_them(refused: Any, images: Path) -> None:
    error = refused("optimize", "images.onnx", "-c", "r.yaml", "--calibration", images)
    assert "nothing says how they become the input 'x'" in error
    assert "--preprocess" in error


# --- recipes ------------------------------------------------------------------------------------------------

RECIPES = [
    ("", "r.yaml: is empty"),
    ("version: 1\npasses: [simplify\n", "r.yaml:3:1: not valid YAML"),
    ("version: 1\n\tpasses: x", "r.yaml:2:1: not valid YAML"),
    ("[1, 2]", "r.yaml:1:1: a recipe is a mapping"),
    ("hello", "r.yaml:1:1: a recipe is a mapping"),
    ("passes: [simplify]", "r.yaml:1:1: key 'version' is missing"),
    ("version: 2\npasses: [simplify]", "r.yaml:1:10: version: this onnx-pare reads version 1, not 2"),
    ("version: 1\nversion: 1\npasses: [simplify]", "r.yaml:2:1: key 'version' is given twice"),
    ("version: 1\npasses: []", "r.yaml:2:9: passes: should hold at least 1"),
    (
        "version: 1\npasses: [simplfy]",
        "r.yaml:2:10: passes[0]: unknown pass 'simplfy', did you mean 'simplify'",
    ),
    (
        "version: 1\npasses:\n- quantize_int8: {percentil: 99}",
        "r.yaml:3:19: passes[0]: unknown key 'percentil', did you mean 'percentile'?",
    ),
    (
        "version: 1\npasses:\n- quantize_int8: {percentile: 101}",
        "r.yaml:3:31: passes[0].percentile: should be at most 100",
    ),
    ("version: 1\npasses: [simplify]\ngates: [speed>=1]", "r.yaml:3:9: gates[0]: unknown metric 'speed'"),
    ("version: 1\npasses: " + "[" * 5000, "r.yaml:2:"),
    ("version: 1\npasses: &a [*a]", "r.yaml:2:"),
    ("version: 1\npasses: !!python/object:os.system {}", "r.yaml:2:9: passes: unknown tag"),
]


@pytest.mark.parametrize(("text", "said"), RECIPES)
def test_recipes(refused: Any, text: str, said: str) -> None:
    Path("r.yaml").write_text(text)
    assert refused("optimize", "net.onnx", "-c", "r.yaml").startswith(said)


def test_recipes_that_are_none(refused: Any) -> None:
    Path("folder").mkdir()
    Path("binary.yaml").write_bytes(b"\x89PNG\r\n\x00\xff")
    for path, said in {
        "none.yaml": "'none.yaml': no such recipe",
        "int9": "'int9': no such recipe, did you mean 'int8'?",
        "folder": "folder: is a folder, not a recipe",
        "binary.yaml": "binary.yaml:1: not UTF-8 text",
    }.items():
        assert refused("optimize", "net.onnx", "-c", path).startswith(said)


def test_a_selector_that_matches_nothing(refused: Any) -> None:
    error = refused("optimize", "net.onnx", "-c", "r.yaml", "--set", 'passes.quantize_int8.skip=["head/*"]')
    assert "skip: 'head/*' matches no node" in error


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["-p", "pi"], "unknown profile 'pi'"),
        (
            ["--gate", "speed>=1"],
            "--gate 'speed>=1': gates[0]: unknown metric 'speed', did you mean 'speedup'?",
        ),
        (["--gate", "speedup>>1"], "--gate 'speedup>>1': gates[0]: "),
        (["--set", "runs"], "--set runs: is not KEY=VALUE"),
        (["--set", "benchmark.run=1"], "--set benchmark.run=1: "),
        (["--set", "passes.simplify.x=1"], "--set passes.simplify.x=1: "),
        (["--preprocess", "imagnet"], "--preprocess imagnet: "),
        (["net.onnx"], "a batch needs an output folder"),
    ],
)
def test_flags(refused: Any, flags: Sequence[str], said: str) -> None:
    assert refused("optimize", "net.onnx", "-c", "r.yaml", *flags).startswith(said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no recipe given"),
        (["net.onnx"], "no recipe given"),
        (["-c", "r.yaml"], "no model given"),
        ([".", "-c", "r.yaml"], "a batch needs an output folder"),
    ],
)
def test_what_is_left_out(refused: Any, arguments: Sequence[str], said: str) -> None:
    assert refused("optimize", *arguments).startswith(said)


# --- outputs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["net.onnx", "./net.onnx", "sub/../net.onnx", "link.onnx", "hard.onnx"])
@pytest.mark.parametrize("flags", [[], ["--overwrite"], ["--overwrite", "--dry-run"]])
def test_the_input_is_never_the_output(refused: Any, output: str, flags: Sequence[str]) -> None:
    Path("sub").mkdir()
    Path("link.onnx").symlink_to("net.onnx")
    Path("hard.onnx").hardlink_to("net.onnx")
    assert "is the input model" in refused("optimize", "net.onnx", "-c", "r.yaml", "-o", output, *flags)


def test_nothing_that_is_read_is_written_over(refused: Any) -> None:
    external()
    np.savez("cal.npz", x=vectors())
    np.savez("val.npz", x=vectors(), y=np.arange(6) % 5)
    data = ("--calibration", "cal.npz", "--eval", "val.npz")
    for name, said in {
        "net.bin": "external data of the input model",
        "r.yaml": "the recipe",
        "cal.npz": "the calibration data",
        "val.npz": "the labelled data",
    }.items():
        for flags in (("-o", name, "--overwrite"), ("--report-json", name)):
            assert f"{name}: is {said}" in refused("optimize", "net.onnx", "-c", "r.yaml", *data, *flags)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("taken.onnx", ["taken.onnx: exists already", "--overwrite"]),
        ("sub", ["sub: is a folder", "name of the file"]),
        ("none/out.onnx", ["none: no such folder", "mkdir -p none"]),
        ("taken.onnx/out.onnx", ["taken.onnx: is a file, not a folder"]),
        ("/dev/full", ["/dev/full: is not a regular file"]),
        ("/proc/out.onnx", ["/proc/out.onnx: cannot be written", "Choose another"]),
        ("n" * 256, ["cannot be written: File name too long"]),
        ("-", ["a model is not written to stdout"]),
        ("", ["is a folder"]),
    ],
)
def test_places_that_cannot_be_written(refused: Any, output: str, said: Sequence[str]) -> None:
    if output.startswith("/") and not Path(output).parent.exists():
        pytest.skip("no such system folder here")
    Path("sub").mkdir()
    Path("taken.onnx").write_text("mine")
    error = refused("optimize", "net.onnx", "-c", "r.yaml", "-o", output)
    assert [text for text in said if text not in error] == []


def test_the_default_name_is_protected_too(refused: Any) -> None:
    Path("net.r.onnx").write_text("mine")
    assert "net.r.onnx: exists already" in refused("optimize", "net.onnx", "-c", "r.yaml")


@pytest.mark.parametrize("report", ["none/r.json", ".", "/proc/r.json", "net.onnx", "out.onnx"])
def test_a_report_that_cannot_be_written_is_found_out_before_the_work(
    refused: Any, report: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnx_pare.pipeline.chain.run_passes", None)
    refused("optimize", "net.onnx", "-c", "r.yaml", "-o", "out.onnx", "--report-json", report)


@pytest.mark.parametrize("arguments", [["inspect", "net.onnx"], ["bench", "net.onnx"]], ids=" ".join)
def test_json_of_other_commands_is_never_a_model(refused: Any, arguments: Sequence[str]) -> None:
    Path("link").symlink_to("net.onnx")
    for path in ("net.onnx", "./net.onnx", "link"):
        assert "is the model itself" in refused("pare", *arguments, "--json", path)


def test_links_in_a_circle(refused: Any, command: Any) -> None:
    Path("a.onnx").symlink_to("b.onnx")
    Path("b.onnx").symlink_to("a.onnx")
    assert refused("optimize", "a.onnx", "-c", "r.yaml").startswith("a.onnx: ")
    assert "a.onnx" in refused("optimize", "net.onnx", "-c", "a.onnx")
