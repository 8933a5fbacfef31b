"""Images of many files as one stack."""

import os
import pickle
import struct
import warnings

import numpy as np
import pytest
import xarray as xr
from mrcbytes import lay, put

from xarray_mrc import MrcError, MrcWarning, open_stack

RNG = np.random.default_rng(7)


def write(path, count=5, rows=6, columns=4, *, order="<", form="float32", voxel=1.5, seed=0):
    """Lay down a stack of images; return its pixels."""
    laid = lay(
        form, "image_stack", order, lengths=(columns, rows, count), seed=seed,
        voxel=(str(voxel), str(voxel), str(voxel)),
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(laid.raw)
    return laid.pixels


def star(path, rows, columns, optics="", block="particles"):
    """Write a STAR file with one table, and one of optics groups."""
    head = "".join(f"_{name} #{number}\n" for number, name in enumerate(columns, 1))
    body = "".join(" ".join(map(str, row)) + "\n" for row in rows)
    path.write_text(f"\n{optics}\ndata_{block}\n\nloop_\n{head}{body}\n")


OPTICS = "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnImagePixelSize #2\n1 1.5\n2 1.5\n\n"


@pytest.fixture
def three(tmp_path, monkeypatch):
    """Three files in the current folder, with their pixels by name."""
    monkeypatch.chdir(tmp_path)
    names = ["a.mrcs", "sub/b.mrcs", "c.mrcs"]
    return {name: write(tmp_path / name, seed=n) for n, name in enumerate(names)}


def test_files_and_references(three):
    whole = open_stack(["a.mrcs", "c.mrcs"])
    assert whole.dims == ("image", "y", "x")
    np.testing.assert_array_equal(whole, np.concatenate([three["a.mrcs"], three["c.mrcs"]]))
    assert whole.y.values.tolist() == [0.0, 1.5, 3.0, 4.5, 6.0, 7.5]
    assert whole.y.attrs["units"] == "angstrom"
    picked = open_stack(["000003@c.mrcs", "1@sub/b.mrcs", "3@c.mrcs", "a.mrcs"])
    expected = [three["c.mrcs"][2], three["sub/b.mrcs"][0], three["c.mrcs"][2], *three["a.mrcs"]]
    np.testing.assert_array_equal(picked, np.stack(expected))
    np.testing.assert_array_equal(open_stack("*.mrcs"), whole)


@pytest.mark.parametrize("fill", [0.5, np.nan, 40000])
def test_padding_of_integers_is_one(tmp_path, fill):
    write(tmp_path / "a.mrcs", form="int16")
    with pytest.raises(ValueError, match=r"is no value of the data, which are int16"):
        open_stack(tmp_path / "a.mrcs", pad=8, fill=fill)
    assert open_stack(tmp_path / "a.mrcs", pad=8, fill=-3)[0, 0, 0] == -3


@pytest.mark.parametrize("chunks", [{}, None])
def test_assigned_be_assigned(three, chunks):
    images = open_stack("a.mrcs", chunks=chunks)
    same = images.copy()
    images[0] = 7
    expected = three["a.mrcs"].copy()
    expected[0] = 7
    np.testing.assert_array_equal(images[[1, 0]], expected[[1, 0]])
    np.testing.assert_array_equal(same, three["a.mrcs"])
    np.testing.assert_array_equal(open_stack("a.mrcs"), three["a.mrcs"])


@pytest.mark.parametrize("chunks", [{}, None, {"image": 3}, "auto", 2])
def test_columns_of_a_table_select_images(three, tmp_path, chunks):
    names = [f"{n % 5 + 1:06d}@{name}" for n, name in enumerate([*three] * 4)]
    classes = [n % 3 for n in range(12)]
    table = [(names[n], 1 + n % 2, 1e4 + n / 8, classes[n]) for n in range(12)]
    columns = ("rlnImageName", "rlnOpticsGroup", "rlnDefocusU", "rlnClassNumber")
    star(tmp_path / "p.star", table, columns, OPTICS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p = open_stack("p.star", chunks=chunks)
    assert p.rlnImageName.values.tolist() == names
    assert p.rlnDefocusU.values.tolist() == [1e4 + n / 8 for n in range(12)]
    assert (p.chunks is None) == (chunks is None)
    assert all(coord.chunks is None for coord in p.coords.values())
    files = [three[name] for name in [*three] * 4]
    pixels = np.stack([pixels[n % 5] for n, pixels in enumerate(files)])
    np.testing.assert_array_equal(p, pixels)
    chosen = p[p.rlnClassNumber == 1]
    np.testing.assert_array_equal(chosen, pixels[1::3])
    np.testing.assert_allclose(chosen.mean("image"), pixels[1::3].mean(0), rtol=1e-6)
    np.testing.assert_array_equal(p[::-2, 1:4, [3, 0]], pixels[::-2, 1:4][:, :, [3, 0]])
    np.testing.assert_array_equal(p.transpose("x", "image", "y")[2], pixels[:, :, 2])
    np.testing.assert_array_equal(p[4], pixels[4])
    again = pickle.loads(pickle.dumps(p))
    xr.testing.assert_identical(again.compute(), p.compute())


def test_a_table_of_relion_3_0(three, tmp_path):
    names = ("rlnImageName", "rlnDetectorPixelSize", "rlnMagnification")
    star(tmp_path / "p.star", [("1@a.mrcs", 7.5, 50000), ("5@a.mrcs", 7.5, 50000)], names, block="")
    p = open_stack("p.star")
    np.testing.assert_array_equal(p, three["a.mrcs"][[0, 4]])
    assert p.x.values.tolist() == [0.0, 1.5, 3.0, 4.5]


def test_micrographs_and_tilt_series(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = [write(tmp_path / f"m/{n}.mrc", 1, seed=n) for n in range(4)]
    star(tmp_path / "m.star", [(f"m/{n}.mrc",) for n in (2, 0)], ["rlnMicrographName"])
    np.testing.assert_array_equal(open_stack("m.star"), np.concatenate([pixels[2], pixels[0]]))
    for series in (1, 2):
        rows = [(f"m/{n}.mrc", n * 3.0) for n in (2 * series - 2, 2 * series - 1)]
        columns = ["rlnMicrographName", "rlnTomoNominalStageTiltAngle"]
        star(tmp_path / f"ts{series}.star", rows, columns, block=f"TS_{series}")
    columns = ["rlnTomoName", "rlnTomoTiltSeriesPixelSize", "rlnTomoTiltSeriesStarFile"]
    rows = [(f"TS_{n}", 1.5, f"ts{n}.star") for n in (2, 1)]
    star(tmp_path / "all.star", rows, columns, block="global")
    tilts = open_stack("all.star")
    np.testing.assert_array_equal(tilts, np.concatenate([pixels[n] for n in (2, 3, 0, 1)]))
    assert tilts.rlnTomoName.values.tolist() == ["TS_2", "TS_2", "TS_1", "TS_1"]
    assert tilts.rlnTomoNominalStageTiltAngle.values.tolist() == [6.0, 9.0, 0.0, 3.0]
    assert tilts.x.values[1] == 1.5
    one = open_stack("ts1.star")
    assert one.rlnTomoNominalStageTiltAngle.values.tolist() == [0.0, 3.0]


def test_particles_of_tilt_series_are_stacks_of_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = [write(tmp_path / f"{n}_stack2d.mrcs", n + 2, seed=n) for n in range(2)]
    general = "data_general\n\n_rlnTomoSubTomosAre2DStacks {}\n\n"
    columns = ["rlnImageName", "rlnTomoParticleName", "rlnOpticsGroup"]
    rows = [(f"{n}_stack2d.mrcs", f"TS_01/{n}", 1) for n in (1, 0)]
    star(tmp_path / "p.star", rows, columns, general.format(1) + OPTICS)
    p = open_stack("p.star")
    np.testing.assert_array_equal(p, np.concatenate(pixels[::-1]))
    assert p.rlnTomoParticleName.values.tolist() == ["TS_01/1"] * 3 + ["TS_01/0"] * 2
    assert p.section.values.tolist() == [0, 1, 2, 0, 1]
    assert p.x.values[1] == 1.5
    np.testing.assert_allclose(
        p.groupby("rlnTomoParticleName").mean(), [pixels[0].mean(0), pixels[1].mean(0)], rtol=1e-6
    )
    star(tmp_path / "volumes.star", rows, columns, general.format(0) + OPTICS)
    with pytest.raises(MrcError, match=r"row 1 names .*1_stack2d\.mrcs, which has 3 sections"):
        open_stack("volumes.star")


def test_a_table_of_cryosparc(three, tmp_path):
    fields = [
        ("uid", "u8"), ("blob/path", "S12"), ("blob/idx", "u4"), ("blob/psize_A", "f4"),
        ("ctf/df1_A", "f4"), ("alignments3D/pose", "f4", 3),
    ]  # fmt: skip
    table = np.zeros(3, fields)
    table["uid"] = [5, 6, 7]
    table["blob/path"] = [b">a.mrcs", b"c.mrcs", b">a.mrcs"]
    table["blob/idx"] = [0, 4, 2]
    table["blob/psize_A"] = 1.5
    table["alignments3D/pose"] = np.arange(9).reshape(3, 3)
    with (tmp_path / "p.cs").open("wb") as file:
        np.save(file, table)
    p = open_stack("p.cs")
    expected = [three["a.mrcs"][0], three["c.mrcs"][4], three["a.mrcs"][2]]
    np.testing.assert_array_equal(p, np.stack(expected))
    assert p.ctf_df1_A.attrs["long_name"] == "ctf/df1_A"
    assert p.alignments3D_pose_1.values.tolist() == [1, 4, 7]
    assert p.alignments3D_pose_1.attrs["long_name"] == "alignments3D/pose[1]"
    assert p.blob_path.values.tolist() == [">a.mrcs", "c.mrcs", ">a.mrcs"]
    p.to_dataset().to_zarr(tmp_path / "p.zarr", zarr_format=2)
    assert xr.open_zarr(tmp_path / "p.zarr").uid.values.tolist() == [5, 6, 7]


def test_where_relative_paths_start(three, tmp_path, monkeypatch):
    (tmp_path / "job" / "deep").mkdir(parents=True)
    star(tmp_path / "job" / "deep" / "p.star", [("2@sub/b.mrcs",)], ["rlnImageName"])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    p = open_stack(tmp_path / "job" / "deep" / "p.star")
    np.testing.assert_array_equal(p[0], three["sub/b.mrcs"][1])
    np.testing.assert_array_equal(open_stack(["2@sub/b.mrcs"], root=tmp_path), p)
    with pytest.raises(FileNotFoundError, match="pass root=FOLDER"):
        open_stack(["2@sub/b.mrcs"])
    with pytest.raises(FileNotFoundError):
        open_stack(["2@sub/b.mrcs"], root=elsewhere)


def test_pixel_sizes(three, tmp_path):
    star(tmp_path / "p.star", [("1@a.mrcs", 1.6)], ["rlnImageName", "rlnImagePixelSize"])
    with pytest.warns(MrcWarning, match="1.6 angstrom in the table and 1.5 in the header"):
        p = open_stack("p.star")
    assert p.x.values.tolist() == [0.0, 1.6, 3.2, 4.8]
    rows = [("1@a.mrcs", 1.5), ("2@a.mrcs", 2.0)]
    star(tmp_path / "q.star", rows, ["rlnImageName", "rlnImagePixelSize"])
    with pytest.warns(MrcWarning, match="2 pixel sizes, 1.5 to 2 angstrom"):
        q = open_stack("q.star")
    assert "x" not in q.coords
    write(tmp_path / "d.mrcs", voxel=3.0)
    with pytest.warns(MrcWarning, match="the files have 2 pixel sizes"):
        assert "x" not in open_stack(["a.mrcs", "d.mrcs"]).coords


def test_sizes_that_differ(three, tmp_path):
    small = write(tmp_path / "small.mrcs", 2, rows=3, columns=2)
    names = ["a.mrcs", "c.mrcs", "small.mrcs"]
    with pytest.raises(MrcError, match=r"6 rows and 4 columns, but not .*small.mrcs \(3 x 2\)"):
        open_stack(names)
    padded = open_stack(names, pad=(6, 4), fill=-1)
    assert padded.shape == (12, 6, 4)
    expected = np.full((6, 4), -1.0)
    expected[2:5, 1:3] = small[1]  # centre 1 of 3 comes to 3 of 6, and 1 of 2 to 2 of 4
    np.testing.assert_array_equal(padded[11], expected)
    np.testing.assert_array_equal(padded[[11, 0], 1:5, ::2], np.stack(
        [expected[1:5, ::2], three["a.mrcs"][0, 1:5, ::2]]))  # fmt: skip
    cropped = open_stack(names, crop=[3, 2])
    np.testing.assert_array_equal(cropped[10:], small)
    np.testing.assert_array_equal(cropped[0], three["a.mrcs"][0, 2:5, 1:3])
    with pytest.raises(MrcError, match=r"small.mrcs: crop=\(6, 4\) was passed"):
        open_stack(names, crop=(6, 4))
    with pytest.raises(MrcError, match=r"pad=\(3, 3\) was passed"):
        open_stack(names, pad=3)
    with pytest.raises(ValueError, match="one of them"):
        open_stack(names, pad=3, crop=3)


@pytest.mark.parametrize("check", [True, False])
def test_a_section_that_is_not_there(three, check):
    names = ["1@a.mrcs", "6@c.mrcs"]
    if check:
        with pytest.raises(MrcError, match=r"c\.mrcs: image 2 is section 6 .* has 5"):
            open_stack(names)
        return
    p = open_stack(names, check=False)
    np.testing.assert_array_equal(p[0], three["a.mrcs"][0])
    with pytest.raises(MrcError, match=r"c\.mrcs: section 6 was wanted"):
        p[1].load()


def test_without_a_check_one_header_is_read(three, monkeypatch):
    os.unlink("c.mrcs")
    p = open_stack(["2@a.mrcs", "1@c.mrcs"], check=False)
    np.testing.assert_array_equal(p[0], three["a.mrcs"][1])
    with pytest.raises(FileNotFoundError):
        open_stack(["2@a.mrcs", "1@c.mrcs"])


def test_without_a_check_other_images_are_refused_when_they_are_read(tmp_path):
    """They would be cast, cut or padded without a word."""
    write(tmp_path / "a.mrcs", form="int8")
    write(tmp_path / "b.mrcs", form="float32")
    write(tmp_path / "c.mrcs", form="int8", rows=7)
    names = [f"1@{tmp_path}/{name}.mrcs" for name in "abc"]
    p = open_stack(names, chunks=None, check=False)
    for number in (1, 2):
        with pytest.raises(MrcError, match=r"expected \(6, 4\) of int8.*check=True"):
            p[number].load()
    smaller = open_stack(names, chunks=None, check=False, pad=(6, 4))
    with pytest.raises(MrcError, match=r"c\.mrcs: its images are \(7, 4\)"):
        smaller[2].load()
    np.testing.assert_array_equal(
        open_stack(names[:2], chunks=None)[1], write(tmp_path / "b.mrcs", form="float32")[0]
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("form", ["int8", "int16", "float16", "uint16", "four_bit"])
def test_every_form_in_any_order(tmp_path, order, form):
    files = [write(tmp_path / f"{n}.mrcs", order=order, form=form, seed=n) for n in range(3)]
    pixels = np.concatenate(files)
    p = open_stack(tmp_path, chunks=None)
    assert p.dtype == pixels.dtype
    chosen = RNG.permutation(15)
    np.testing.assert_array_equal(p[chosen], pixels[chosen])
    np.testing.assert_array_equal(p[chosen, 1:3], pixels[chosen, 1:3])
    images, y, x = (xr.DataArray(v, dims="point") for v in ([14, 2], [0, 5], [3, 1]))
    np.testing.assert_array_equal(p[images, y, x], pixels[[14, 2], [0, 5], [3, 1]])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["0@a.mrcs"], "counted from 1"),
        (["x@a.mrcs"], "expected a number from 1"),
        ([], "empty list"),
    ],
)
def test_wrong_references(three, names, message):
    with pytest.raises(ValueError, match=message):
        open_stack(names)


def test_wrong_tables(three, tmp_path):
    star(tmp_path / "p.star", [("a.mrcs",)], ["rlnImageName"])
    with pytest.raises(MrcError, match=r"row 1 names a\.mrcs, which has 5 sections"):
        open_stack("p.star")
    star(tmp_path / "p.star", [(1,)], ["rlnClassNumber"])
    with pytest.raises(MrcError, match="rlnImageName or rlnMicrographName"):
        open_stack("p.star")
    (tmp_path / "p.cs").write_bytes(b"no array")
    with pytest.raises(MrcError, match=r"not a \.cs file"):
        open_stack("p.cs")
    np.save(tmp_path / "q.npy", np.zeros(3))
    os.rename(tmp_path / "q.npy", tmp_path / "q.cs")
    with pytest.raises(MrcError, match="no column blob/path"):
        open_stack("q.cs")
    (tmp_path / "p.star").write_text("data_\n")
    with pytest.raises(MrcError):
        open_stack("p.star")


def test_blocks_end_where_files_do(tmp_path):
    from xarray_mrc.multifile import image_blocks, stacks

    for n in range(4):
        write(tmp_path / f"{n}.mrcs", 6 + n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacks, "BLOCK_NBYTES", 7 * 96)
        patch.setattr(image_blocks, "MIN_BLOCK_NBYTES", 2 * 96)
        assert open_stack(tmp_path).chunks[0] == (6, 7, 4, 4, 5, 4)
        patch.setattr(image_blocks, "MIN_BLOCK_NBYTES", 100 * 96)
        patch.setattr(stacks, "BLOCK_NBYTES", 15 * 96)
        assert open_stack(tmp_path).chunks[0] == (13, 8, 9)


def test_an_image_file_counts_as_a_stack_of_one(tmp_path):
    laid = lay("float32", "image", lengths=(4, 6, 1))
    (tmp_path / "a.mrc").write_bytes(put(laid.raw, "<", ispg=1))
    assert open_stack(tmp_path).shape == (1, 6, 4)
    assert struct.unpack_from("<i", laid.raw, 8)[0] == 1


def test_wrong_arguments_are_named(three):
    with pytest.raises(TypeError, match="None was passed, expected a path"):
        open_stack(None)
    with pytest.raises(FileNotFoundError) as caught:
        open_stack("none.star")
    assert (caught.value.filename, caught.value.strerror) == ("none.star", os.strerror(2))
    with pytest.raises(ValueError, match=r"chunks=.*'imgae', expected"):
        open_stack("a.mrcs", chunks={"imgae": 1})


def test_an_optics_group_that_is_missing_is_named(three, tmp_path):
    columns = ("rlnImageName", "rlnOpticsGroup")
    star(tmp_path / "p.star", [("1@a.mrcs", 1), ("2@a.mrcs", 7)], columns, OPTICS)
    with pytest.warns(MrcWarning, match="no pixel size for 1 of 2 images"):
        p = open_stack("p.star")
    assert p.y.values.tolist() == [0.0, 1.5, 3.0, 4.5, 6.0, 7.5]


def test_a_table_that_was_corrected_is_read_anew(three, tmp_path):
    columns = ("rlnImageName", "rlnClassNumber")
    good = tmp_path / "good.star"
    star(good, [("2@a.mrcs", 4), ("5@a.mrcs", 8)], columns)
    (tmp_path / "p.star").write_text("data_\n\nnothing", "utf-8")
    with pytest.raises(MrcError, match="the STAR file cannot be read"):
        open_stack("p.star")
    good.replace("p.star")
    assert open_stack("p.star").rlnClassNumber.values.tolist() == [4, 8]
