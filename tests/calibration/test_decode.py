from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from onnx_pare.calibration.decode import DecodeError, decode, undecodable

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def saved(tmp_path, image, name="a.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def test_modes_become_rgb_or_grey(tmp_path):
    image = Image.fromarray(RGB)
    for mode in ("RGB", "RGBA", "P"):
        assert decode(saved(tmp_path, image.convert(mode), f"{mode}.png")).mode == "RGB"
    for mode in ("L", "LA", "1"):
        assert decode(saved(tmp_path, image.convert(mode), f"{mode}.png")).mode == "L"
    np.testing.assert_array_equal(decode(saved(tmp_path, image.convert("RGBA"))), RGB)
    cmyk = decode(saved(tmp_path, image.resize((64, 64)).convert("CMYK"), "cmyk.jpg"))
    np.testing.assert_allclose(np.asarray(cmyk, float), image.resize((64, 64)), atol=90)
    assert abs(np.asarray(cmyk, float).mean() - RGB.mean()) < 8


def test_transparency_is_dropped(tmp_path):
    rgba = np.dstack([RGB, np.zeros((6, 9), np.uint8)])
    np.testing.assert_array_equal(decode(saved(tmp_path, Image.fromarray(rgba))), RGB)


def test_16_bits_are_rounded_to_8(tmp_path):
    wide = np.array([[0, 128, 129, 257, 30000, 65535]], np.uint16)
    image = decode(saved(tmp_path, Image.fromarray(wide)))
    np.testing.assert_array_equal(np.asarray(image)[0], np.rint(wide[0].astype(float) * 255 / 65535))


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to see it upright
    path = saved(tmp_path, Image.fromarray(RGB), exif=exif)
    np.testing.assert_array_equal(decode(path), np.rot90(RGB, -1))


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    path = saved(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert decode(path).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "gif"])
@pytest.mark.parametrize("draft", [False, True])
def test_cut_files_do_not_decode(tmp_path, suffix, draft):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path = saved(tmp_path, image, f"a.{suffix}")
    assert decode(path, draft=draft).mode == "RGB"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DecodeError):
        decode(path, draft=draft)


def test_files_that_do_not_decode_are_counted_and_explained(tmp_path, monkeypatch):
    good = saved(tmp_path, Image.fromarray(RGB))
    text = tmp_path / "b.png"
    text.write_text("no image")
    empty = tmp_path / "c.jpg"
    empty.touch()
    monkeypatch.setattr("onnx_pare.calibration.decode.MAX_PIXELS", 100)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    bomb = saved(tmp_path, Image.new("L", (11, 10)), "d.png")
    huge = saved(tmp_path, Image.new("L", (50, 50)), "e.png")
    reasons = undecodable([good, text, empty, bomb, huge])
    assert list(reasons) == [1, 2, 3, 4]
    assert reasons[3] == "11×10 pixels are over the limit of 100"
    assert "decompression bomb" in reasons[4]


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_a_bomb_is_refused_even_where_pillow_has_no_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    path = tmp_path / "bomb.png"
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(1 << 20)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    assert undecodable([path]) == {0: "60000×60000 pixels are over the limit of 89,478,485"}


@pytest.mark.parametrize(("name", "written"), [("a.png", "eps"), ("a.jpg", "tiff"), ("a.gif", "ppm")])
def test_other_formats_are_refused_under_any_name(tmp_path, name, written):
    path = tmp_path / name
    Image.fromarray(RGB).save(path, format=written)
    with pytest.raises(DecodeError, match="cannot identify image file"):
        decode(path)
