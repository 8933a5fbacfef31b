"""Selections of images and their tables, read back by starfile, by mrcfile and by `open_stack`."""

import os
import signal
import sys
import tempfile
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import starfile
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from mrcbytes import lay
from waiting import wait_for
from writers import start

from xarray_mrc import MrcError, MrcWarning, open_stack, read_header, write_stack

CAN_KILL = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
GENERAL = "data_general\n\n_rlnTomoSubTomosAre2DStacks 1\n_rlnNote 'two words'\n\n"
OPTICS = """data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnImagePixelSize #3
_rlnImageSize #4
_rlnVoltage #5
first 1 {0} 8 300.0
second 2 {1} 8 200.0

"""
COLUMNS = ("rlnDefocusU", "rlnImageName", "rlnClassNumber", "rlnMicrographName", "rlnOpticsGroup")


ALIKE = OPTICS.format(1.35, 1.35)


def lay_project(top, optics=ALIKE, voxels=("1.35", "1.35", "1.35")):
    """Lay down a project of RELION: three stacks of five images; return all of their pixels."""
    pixels, lines = [], []
    (top / "Extract" / "job007").mkdir(parents=True)
    for number, (name, voxel) in enumerate(zip("abc", voxels, strict=True)):
        head = lay(kind="image_stack", lengths=(8, 8, 5), voxel=(voxel,) * 3).head
        images = np.random.default_rng(number).normal(size=(5, 8, 8)).astype("<f4")
        (top / "Extract" / "job007" / f"{name}.mrcs").write_bytes(head + images.tobytes())
        pixels.append(images)
        lines += [
            f"{10000 + section / 3!r} {section + 1:06d}@Extract/job007/{name}.mrcs "
            f"{section % 2 + 1} {name}.mrc {number % 2 + 1}\n"
            for section in range(5)
        ]
    head = "".join(f"_{name} #{number}\n" for number, name in enumerate(COLUMNS, 1))
    table = top / "Extract" / "job007" / "particles.star"
    table.write_text(f"{GENERAL}{optics}data_particles\n\nloop_\n{head}{''.join(lines)}\n")
    return np.concatenate(pixels)


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lay_project(tmp_path)


PARTICLES = "Extract/job007/particles.star"


def read_star(path):
    return starfile.read(path, always_dict=True)


def assert_same(found, wanted, *, but=("rlnImageName",)):
    """Values, positions and columns are equal."""
    np.testing.assert_array_equal(found, wanted)
    assert set(found.coords) == set(wanted.coords)
    for name in set(wanted.coords) - set(but):
        if wanted[name].dtype.kind == "f":  # older readers of decimals are off by half a digit
            np.testing.assert_allclose(found[name].values, wanted[name].values, rtol=5e-16)
        else:
            xr.testing.assert_equal(found[name].variable, wanted[name].variable)


def last_column(path):
    """Return the numbers at the end of the lines of a table, as Python reads them."""
    lines = Path(path).read_text().rpartition("loop_")[2].splitlines()
    return [float(line.split()[-1]) for line in lines if line.strip() and line[0] != "_"]


def test_a_selection_of_particles(project, tmp_path):
    particles = open_stack(PARTICLES)
    order = [12, 3, 3, 0, 9]
    chosen = particles[order].assign_coords(score=("image", [0.1, 1 / 3, 2.0, -1e-30, 5.0]))
    assert write_stack(chosen, "Select/../sel.mrcs", star="sel.star") == [
        str(tmp_path / "sel.mrcs")
    ]
    blocks, before = read_star("sel.star"), read_star(PARTICLES)
    assert list(blocks) == ["general", "optics", "particles"]
    assert blocks["general"] == before["general"]
    assert blocks["optics"].equals(before["optics"])
    table = blocks["particles"]
    assert list(table) == [*COLUMNS, "score"]
    assert table.rlnImageName.tolist() == [f"{n:06d}@sel.mrcs" for n in range(1, 6)]
    assert last_column("sel.star") == [0.1, 1 / 3, 2.0, -1e-30, 5.0]
    for name in set(COLUMNS) - {"rlnImageName"}:
        assert table[name].tolist() == before["particles"][name].iloc[order].tolist()
    with mrcfile.open("sel.mrcs") as mrc:
        assert mrc.is_image_stack()
        np.testing.assert_array_equal(mrc.data, project[order])
        assert mrc.voxel_size.x == pytest.approx(1.35)
    assert_same(open_stack("sel.star"), chosen)


@settings(max_examples=12, deadline=None)
@given(
    order=st.lists(st.integers(0, 14), min_size=1, max_size=9),
    per_file=st.none() | st.integers(1, 10),
    numbers=st.lists(st.floats(width=64), min_size=9, max_size=9),
    words=st.lists(st.text("abc xyz_@#", min_size=1, max_size=5), min_size=9, max_size=9),
    chunks=st.sampled_from([{}, None, {"image": 2}]),
)
def test_what_is_written_is_read(order, per_file, numbers, words, chunks):
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        lay_project(top)
        particles = open_stack(top / PARTICLES, chunks)
        chosen = particles[order].assign_coords(
            word=("image", words[: len(order)]), number=("image", numbers[: len(order)])
        )
        stacks = write_stack(chosen, top / "sel.mrcs", star=top / "sel.star", per_file=per_file)
        found = open_stack(top / "sel.star")
        assert_same(found, chosen)
        np.testing.assert_array_equal(last_column(top / "sel.star"), numbers[: len(order)])
        counts = [read_header(stack).nz for stack in stacks]
        assert counts[:-1] == [per_file] * (len(stacks) - 1)
        assert sum(counts) == len(order)


def test_names_of_digits_stay_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mrcs").write_bytes(lay("int16", "image_stack", lengths=(4, 4, 2)).raw)
    optics = "data_optics\n\nloop_\n_rlnOpticsGroupName #1\n_rlnOpticsGroup #2\n007 1\n\n"
    names = ("rlnImageName", "rlnTomoName", "rlnGroupName", "rlnOpticsGroup")
    rows = "1@a.mrcs 01 0012 1\n2@a.mrcs 1 1e5 1\n"
    head = "".join(f"_{name} #{n}\n" for n, name in enumerate(names, 1))
    (tmp_path / "a.star").write_text(f"{optics}data_particles\n\nloop_\n{head}{rows}\n")
    particles = open_stack("a.star")
    assert particles.rlnTomoName.values.tolist() == ["01", "1"]
    write_stack(particles, "b.mrcs", star="b.star", voxel_size=1.5)
    lines = [line.split() for line in (tmp_path / "b.star").read_text().splitlines()]
    assert ["000001@b.mrcs", "01", "0012", "1"] in lines
    assert ["000002@b.mrcs", "1", "1e5", "1"] in lines
    assert any(line[:2] == ["007", "1"] for line in lines)


def test_binning_changes_the_pixel_size(project):
    binned = open_stack(PARTICLES)[:6].coarsen(y=2, x=2).mean()
    write_stack(binned, "bin.mrcs", star="bin.star")
    optics = read_star("bin.star")["optics"]
    assert optics.rlnImagePixelSize.tolist() == [2.7, 2.7]
    assert optics.rlnImageSize.tolist() == [4, 4]
    assert optics.rlnVoltage.tolist() == [300, 200]
    assert read_header("bin.mrcs").voxel_size == (2.7, 2.7, 2.7)
    found = open_stack("bin.star")
    np.testing.assert_array_equal(found, binned.astype("f4"))
    assert found.mrc.voxel_size == {"x": 2.7, "y": 2.7}
    cut = open_stack(PARTICLES)[:6, 2:6, 2:6]
    write_stack(cut, "cut.mrcs", star="cut.star")
    optics = read_star("cut.star")["optics"]
    assert optics.rlnImagePixelSize.tolist() == [1.35, 1.35]
    assert optics.rlnImageSize.tolist() == [4, 4]


def test_a_table_of_relion_3_0(tmp_path, monkeypatch):
    """One table without optics, whose origins are in pixels."""
    monkeypatch.chdir(tmp_path)
    Path("a.mrcs").write_bytes(lay("int16", "image_stack", lengths=(8, 8, 2), voxel=None).raw)
    names = ("ImageName", "DetectorPixelSize", "Magnification", "OriginX", "OriginY")
    Path("old.star").write_text(
        "data_\n\nloop_\n"
        + "".join(f"_rln{name}\n" for name in names)
        + "1@a.mrcs 14.0 100000.0 3.0 -1.0\n2@a.mrcs 14.0 100000.0 0.0 2.5\n"
    )
    particles = open_stack("old.star")
    assert particles.mrc.voxel_size == {"x": 1.4, "y": 1.4}
    write_stack(particles.coarsen(y=4, x=4).max(), "new.mrcs", star="new.star")
    blocks = read_star("new.star")
    assert list(blocks) == [""]
    table = blocks[""]
    assert list(table) == [f"rln{name}" for name in names]
    assert table.rlnDetectorPixelSize.tolist() == [56, 56]
    assert table.rlnMagnification.tolist() == [1e5, 1e5]
    assert (table.rlnOriginX.tolist(), table.rlnOriginY.tolist()) == ([0.75, 0], [-0.25, 0.625])
    assert open_stack("new.star").mrc.voxel_size == {"x": 5.6, "y": 5.6}


def test_several_pixel_sizes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lay_project(tmp_path, OPTICS.format(1.35, 2.0), ("1.35", "2.0", "1.35"))
    with pytest.warns(MrcWarning, match="2 pixel sizes"):
        particles = open_stack(PARTICLES)
    before = read_star(PARTICLES)["optics"]
    stacks = write_stack(particles, "sel.mrcs", star="sel.star", per_file=5)
    assert read_star("sel.star")["optics"].equals(before)
    assert [read_header(stack).voxel_size[0] for stack in stacks] == [1.35, 2.0, 1.35]
    second = particles[particles.rlnOpticsGroup == 2]
    binned = second.coarsen(y=2, x=2).mean()
    with pytest.raises(MrcError, match=r"have 4 columns, but 8 in their table.*pass voxel_size="):
        write_stack(binned, "bin.mrcs", star="bin.star")
    write_stack(binned, "bin.mrcs", star="bin.star", voxel_size=4)
    optics = read_star("bin.star")["optics"]
    assert optics.rlnImagePixelSize.tolist() == [1.35, 4]
    assert optics.rlnImageSize.tolist() == [8, 4]


def test_where_names_start(project, tmp_path, monkeypatch):
    particles = open_stack(PARTICLES)[:1]
    monkeypatch.chdir("/")
    for star, options, name in [
        ("Select/sel.star", {}, "000001@Select/sel.mrcs"),
        ("Select/sel2.star", {"root": tmp_path / "Select"}, "000001@sel.mrcs"),
        ("Select/sel3.star", {"root": "/usr"}, f"000001@{tmp_path}/Select/sel.mrcs"),
        ("../elsewhere.star", {}, f"000001@{tmp_path}/Select/sel.mrcs"),
    ]:
        (tmp_path / "Select").mkdir(exist_ok=True)
        path = tmp_path / star
        write_stack(particles, tmp_path / "Select/sel.mrcs", star=path, overwrite=True, **options)
        assert read_star(path)["particles"].rlnImageName.tolist() == [name]
        np.testing.assert_array_equal(open_stack(path), project[:1])
        path.unlink()


def test_images_without_a_table(project):
    images = open_stack("Extract/job007/*.mrcs").assign_coords(
        quality=("image", np.arange(15) / 7), rlnVoltage=300.0, rlnSphericalAberration=2.7
    )
    write_stack(images[::2], "sel.mrcs", star="sel.star")
    blocks = read_star("sel.star")
    assert list(blocks) == ["optics", "particles"]
    assert blocks["optics"].to_dict("list") == {
        "rlnOpticsGroupName": ["opticsGroup1"], "rlnOpticsGroup": [1], "rlnImageSize": [8],
        "rlnImageDimensionality": [2], "rlnVoltage": [300], "rlnSphericalAberration": [2.7],
        "rlnImagePixelSize": [1.35],
    }  # fmt: skip
    assert list(blocks["particles"]) == ["rlnImageName", "quality", "rlnOpticsGroup"]
    found = open_stack("sel.star").drop_vars(["rlnImageName", "rlnOpticsGroup"])
    assert_same(found, images[::2].drop_vars(["rlnVoltage", "rlnSphericalAberration"]))
    unknown = xr.DataArray(np.zeros((3, 4, 4), "f4"))
    words = (
        r"RELION will ask for rlnVoltage and rlnSphericalAberration.*the table has no pixel size"
    )
    with pytest.warns(MrcWarning, match=words):
        write_stack(unknown, "new.mrcs", star="new.star")
    with pytest.warns(MrcWarning, match="square images, but these have 4 rows and 3 columns"):
        write_stack(unknown[..., :3], "odd.mrcs", star="odd.star", voxel_size=2)


def test_optics_groups_of_a_new_table(tmp_path):
    """Values that are the same for all images of a group are its own."""
    images = xr.DataArray(np.zeros((4, 4, 4), "f4"), dims=("image", "y", "x")).assign_coords(
        rlnOpticsGroup=("image", [2, 1, 2, 1]), rlnVoltage=("image", [200.0, 300.0, 200.0, 300.0]),
        rlnSphericalAberration=2.7, rlnAmplitudeContrast=("image", [0.1, 0.1, 0.07, 0.1]),
    )  # fmt: skip
    write_stack(images, tmp_path / "a.mrcs", star=tmp_path / "a.star", voxel_size=1.5)
    blocks = read_star(tmp_path / "a.star")
    assert blocks["optics"].to_dict("list") == {
        "rlnOpticsGroupName": ["opticsGroup2", "opticsGroup1"], "rlnOpticsGroup": [2, 1],
        "rlnImageSize": [4, 4], "rlnImageDimensionality": [2, 2], "rlnVoltage": [200, 300],
        "rlnSphericalAberration": [2.7, 2.7], "rlnImagePixelSize": [1.5, 1.5],
    }  # fmt: skip
    assert blocks["particles"].rlnAmplitudeContrast.tolist() == [0.1, 0.1, 0.07, 0.1]


def test_a_table_of_cryosparc(project):
    table = np.zeros(5, [("blob/path", "S40"), ("blob/idx", "u4"), ("ctf/df1_A", "f4")])
    table["blob/path"], table["blob/idx"] = b">Extract/job007/b.mrcs", np.arange(5)
    table["ctf/df1_A"] = np.float32(10000.1) + np.arange(5)
    with Path("a.cs").open("wb") as file:
        np.save(file, table)
    particles = open_stack("a.cs")[[4, 1]]
    with pytest.warns(
        MrcWarning, match=r"1 columns of cryoSPARC keep their names.*RELION will ask for rlnVoltage"
    ):
        write_stack(particles, "sel.mrcs", star="sel.star")
    found = read_star("sel.star")["particles"]
    assert list(found) == ["rlnImageName", "ctf_df1_A", "rlnOpticsGroup"]
    assert found.ctf_df1_A.astype("f4").tolist() == table["ctf/df1_A"][[4, 1]].tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        named = particles.assign_coords(
            rlnDefocusU=("image", particles.ctf_df1_A.values),
            rlnVoltage=300.0,
            rlnSphericalAberration=2.7,
        )
        write_stack(named, "sel.mrcs", star="sel.star", overwrite=True)


def test_one_image(project):
    first = open_stack(PARTICLES)[7]
    write_stack(first, "one.mrcs", star="one.star")
    found = open_stack("one.star")
    np.testing.assert_array_equal(found, project[7:8])
    assert found.rlnMicrographName.values.tolist() == ["b.mrc"]
    assert read_header("one.mrcs").n == (8, 8, 1)


def test_class_averages(project):
    """The class is the dimension then; a mean drops all other columns."""
    means = open_stack(PARTICLES).groupby("rlnClassNumber").mean().assign_attrs(
        mrc_table=PARTICLES  # which older versions of xarray drop
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"no rlnOpticsGroup.*2 optics groups.*rlnOpticsGroup=1"):
        write_stack(means, "means.mrcs", star="means.star")
    write_stack(means.assign_coords(rlnOpticsGroup=2), "means.mrcs", star="means.star")
    table = read_star("means.star")["particles"]
    assert table.to_dict("list") == {
        "rlnImageName": ["000001@means.mrcs", "000002@means.mrcs"],
        "rlnClassNumber": [1, 2],
        "rlnOpticsGroup": [2, 2],
    }
    np.testing.assert_allclose(open_stack("means.star"), means, rtol=1e-6)
    labelled = open_stack(PARTICLES)[:2].assign_coords(image=["a", "b"])
    with pytest.warns(MrcWarning, match="coordinates image are not written"):
        write_stack(labelled, "two.mrcs", star="two.star")


def test_micrographs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        Path(f"{name}.mrc").write_bytes(lay("int16", "image", lengths=(8, 8, 1), voxel=None).raw)
    Path("mics.star").write_text(
        OPTICS.format(1.35, 1.35).replace("rlnImagePixelSize", "rlnMicrographPixelSize")
        + "data_micrographs\n\nloop_\n_rlnMicrographName\n_rlnOpticsGroup\na.mrc 1\nb.mrc 1\n"
    )
    write_stack(open_stack("mics.star")[::-1], "both.mrcs", star="both.star")
    table = read_star("both.star")["micrographs"]
    assert table.rlnMicrographName.tolist() == ["000001@both.mrcs", "000002@both.mrcs"]
    assert open_stack("both.star").shape == (2, 8, 8)


def test_boxes_of_micrographs(tmp_path, monkeypatch):
    """They become particles, which keep the names of their micrographs and have centres there."""
    monkeypatch.chdir(tmp_path)
    micrographs = np.random.default_rng(5).normal(size=(2, 40, 50)).astype("f4")
    for name, pixels in zip("ab", micrographs, strict=True):
        head = lay(kind="image", lengths=(50, 40, 1), voxel=("2", "2", "2")).head
        Path(f"{name}.mrc").write_bytes(head + pixels.tobytes())
    Path("mics.star").write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnMicrographPixelSize\n1 2.0\n\n"
        "data_micrographs\n\nloop_\n_rlnMicrographName\n_rlnOpticsGroup\n_rlnDefocusU\n"
        "a.mrc 1 10000.5\nb.mrc 1 12000.5\n"
    )
    points = {"image": [1, 0], "x": [60.0, 40.0], "y": [42.0, 24.0]}
    boxes = open_stack("mics.star").mrc.extract(points, 8)
    write_stack(boxes, "boxes.mrcs", star="boxes.star")
    blocks = read_star("boxes.star")
    assert list(blocks) == ["optics", "particles"]
    assert blocks["optics"].to_dict("records") == [
        {"rlnOpticsGroup": 1, "rlnMicrographPixelSize": 2, "rlnImageSize": 8,
         "rlnImageDimensionality": 2, "rlnImagePixelSize": 2}
    ]  # fmt: skip
    table = blocks["particles"]
    assert table.rlnImageName.tolist() == ["000001@boxes.mrcs", "000002@boxes.mrcs"]
    assert table.rlnMicrographName.tolist() == ["b.mrc", "a.mrc"]
    assert table.rlnDefocusU.tolist() == [12000.5, 10000.5]
    centres = list(zip(table.rlnCoordinateY, table.rlnCoordinateX, strict=True))
    assert centres == [(21, 30), (12, 20)]
    with mrcfile.open("boxes.mrcs") as mrc:
        np.testing.assert_array_equal(mrc.data[0], micrographs[1, 17:25, 26:34])
        np.testing.assert_array_equal(mrc.data[1], micrographs[0, 8:16, 16:24])
    write_stack(boxes.coarsen(y=2, x=2).mean(), "bin.mrcs", star="bin.star")
    binned = read_star("bin.star")
    assert binned["optics"].rlnImagePixelSize.tolist() == [4]
    assert binned["optics"].rlnMicrographPixelSize.tolist() == [2]
    assert binned["particles"].rlnCoordinateX.tolist() == [30, 20]


def test_a_table_of_names_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.mrcs").write_bytes(lay("int16", "image_stack", lengths=(8, 8, 2), voxel=None).raw)
    optics = "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n1 1.5\n\n"
    Path("old.star").write_text(f"{optics}data_particles\n\nloop_\n_rlnImageName\n2@a.mrcs\n")
    bare = open_stack("old.star").drop_vars(["y", "x"])
    write_stack(bare, "new.mrcs", star="new.star")
    assert read_header("new.mrcs").voxel_size == (1.5, 1.5, 1.5)


def test_particles_that_are_stacks(project):
    """Of tilt series in RELION 5: a row is not an image."""
    text = GENERAL + "data_particles\n\nloop_\n_rlnImageName\n_rlnTomoParticleName\n"
    Path("tomo.star").write_text(f"{text}Extract/job007/a.mrcs p1\nExtract/job007/b.mrcs p2\n")
    particles = open_stack("tomo.star")
    assert len(particles) == 10
    with pytest.raises(ValueError, match="particles of tilt series, each a stack of images"):
        write_stack(particles, "sel.mrcs", star="sel.star")


def test_without_a_table_of_its_own(project):
    particles = open_stack(PARTICLES)
    with pytest.warns(MrcWarning, match="rlnDefocusU, rlnImageName.* will not be written"):
        stacks = write_stack(particles, "all.mrc.gz", per_file=8)
    assert [Path(stack).name for stack in stacks] == ["all_000001.mrc.gz", "all_000002.mrc.gz"]
    with mrcfile.open(stacks[1]) as mrc:
        np.testing.assert_array_equal(mrc.data, project[8:])
    with pytest.warns(MrcWarning, match="RELION does not read compressed stacks"):
        write_stack(particles, "all.mrcs.zst", star="all.star")
    np.testing.assert_array_equal(open_stack("all.star"), project)


# What exists already, and failures


def test_a_selection_over_its_own_source(project):
    particles = open_stack("Extract/job007/a.mrcs", {"image": 2})
    write_stack(particles[::-1] * 2, "Extract/job007/a.mrcs", overwrite=True)
    np.testing.assert_array_equal(open_stack("Extract/job007/a.mrcs"), project[4::-1] * 2)
    whole = open_stack(PARTICLES)[5:]
    write_stack(whole, "Extract/job007/b.mrcs", star=PARTICLES, overwrite=True)
    np.testing.assert_array_equal(open_stack(PARTICLES), project[5:])


def contents(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_a_failure_changes_nothing(project, tmp_path):
    particles = open_stack(PARTICLES)
    write_stack(particles, "sel.mrcs", star="sel.star", per_file=5)
    before = contents(tmp_path)

    def fail(block, block_info=None):
        if block_info[0]["array-location"][0][0] >= 10:
            raise RuntimeError("no more images")
        return block * 2

    failing = particles.chunk(image=5)
    failing = failing.copy(data=failing.data.map_blocks(fail, dtype="f4"))
    with pytest.raises(RuntimeError, match="no more images"):
        write_stack(failing, "sel.mrcs", star="sel.star", per_file=5, overwrite=True)
    with pytest.raises(RuntimeError, match="no more images"):
        write_stack(failing, "new.mrcs", star="new.star", per_file=5)
    infinite = particles.astype("f4") * np.float32(np.inf)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(MrcWarning, match="infinite values"):
            write_stack(infinite, "new.mrcs", star="new.star", table=PARTICLES)
    assert contents(tmp_path) == before


@CAN_KILL
def test_killed_half_way(tmp_path):
    old = xr.DataArray(np.full((2, 4, 4), 7, "f4"), dims=("image", "y", "x"))
    old = old.assign_coords(rlnVoltage=300.0, rlnSphericalAberration=2.7)
    write_stack(old, tmp_path / "sel.mrcs", star=tmp_path / "a.star", per_file=4, voxel_size=1.5)
    before = contents(tmp_path)
    process = start("select_slowly", tmp_path / "sel.mrcs")
    wait_for(lambda: sum(path.suffix == ".mrcs" for path in contents(tmp_path)) > 2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert contents(tmp_path).items() >= before.items()
    write_stack(
        old, tmp_path / "sel.mrcs", star=tmp_path / "a.star", per_file=4, voxel_size=1.5,
        overwrite=True,
    )  # fmt: skip
    assert set(contents(tmp_path)) == set(before)


def test_refused(project, tmp_path):
    particles = open_stack(PARTICLES)
    names = particles.rlnImageName.values.copy()
    names[3] = "1@elsewhere.mrcs"  # as of images of two tables that were joined
    both = particles.assign_coords(rlnImageName=("image", names))
    dropped = particles.copy()
    dropped.attrs = {}
    moved = particles.assign_attrs(mrc_table="gone.star")
    uneven = particles.coarsen(y=2).mean()
    before = contents(tmp_path)
    for obj, options, error, words in [
        (particles, {"path": "sel.mrc"}, ValueError, r"ends in \.mrcs or \.st"),
        (particles, {"path": "sel.tif"}, ValueError, "another format"),
        (particles, {"star": "sel.txt"}, ValueError, r"ends in \.star"),
        (particles, {"star": PARTICLES}, FileExistsError, "overwrite=True"),
        (particles, {"path": "Extract/job007/a.mrcs"}, FileExistsError, "overwrite=True"),
        (particles, {"per_file": 0}, ValueError, "per_file=0"),
        (particles[:0], {}, ValueError, "the selection is empty"),
        (both, {}, ValueError, "1 images, the first 1@elsewhere.mrcs, are not in .*particles.star"),
        (dropped, {}, ValueError, "mrc_table was dropped: pass table=PATH"),
        (moved, {}, FileNotFoundError, "gone.star.* is not there: pass table=PATH"),
        (uneven, {}, ValueError, "2.7 angstrom along y|1.35 angstrom along x"),
        (particles.rename(image="z"), {}, ValueError, "is a volume, expected images"),
        (particles.assign_coords(word=("image", ['"'] * 15)), {}, ValueError, "quotation mark"),
    ]:
        with pytest.raises(error, match=words):
            write_stack(obj, **{"path": "sel.mrcs", "star": "sel.star"} | options)
    assert contents(tmp_path) == before
    write_stack(dropped, "sel.mrcs", star="sel.star", table=PARTICLES)
    assert_same(open_stack("sel.star"), particles)
