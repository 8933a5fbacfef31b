"""Pages of docs/howto/, each run on files laid down byte by byte, with their numbers."""

from __future__ import annotations

import struct
from pathlib import Path

import gemmi
import numpy as np
import pytest
import torch_stand_in
import xarray as xr
from mrcbytes import lay
from snippets import DOCS, RECIPES, run_page

import xarray_mrc

CUBIC = ("1.5", "1.5", "1.5")
START = {"origin": (30.0, 45.0, 60.0)}


def save(path, *arguments, **options):
    """Write a file of 1.5 angstrom voxels that hold whole numbers; return the numbers."""
    laid = lay(*arguments, **{"voxel": CUBIC, **options})
    numbers = np.random.default_rng(options.get("seed", 1)).integers(1, 9, laid.pixels.shape)
    numbers = numbers.astype(laid.pixels.dtype)
    head = len(laid.raw) - laid.pixels.nbytes
    Path(path).write_bytes(laid.raw[:head] + numbers.tobytes())
    return numbers


def run(name):
    """Run a page, after the snippet on alignment; return the names."""
    names = {}
    run_page(DOCS / "positions.md", names)
    run_page(DOCS / "howto" / f"{name}.md", names)
    return names


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Run in an empty directory, and restore xarray's options afterwards."""
    monkeypatch.chdir(tmp_path)
    with xr.set_options(arithmetic_join="inner"):
        yield


def test_movie_and_gain():
    movie = save("movie.mrc", "int16", "image_stack", lengths=(6, 5, 3), voxel=("0.832",) * 3)
    gain = save("gain.mrc", "float32", "image", lengths=(6, 5, 1), voxel=("1", "1", "1"), seed=2)
    with pytest.raises(xr.AlignmentError), xr.set_options(arithmetic_join="exact"):
        xarray_mrc.open_mrc("movie.mrc") * xarray_mrc.open_mrc("gain.mrc")
    names = run("gain")
    written = xarray_mrc.open_mrc("corrected.mrc")
    np.testing.assert_array_equal(written, movie * gain)
    assert written.dims == ("image", "y", "x")
    assert xarray_mrc.read_header("corrected.mrc").voxel_size[:2] == (0.832, 0.832)
    np.testing.assert_array_equal(names["corrected"], movie * gain[::-1])
    np.testing.assert_array_equal(names["turned"], gain.T[::-1])
    flipped = xarray_mrc.open_mrc("flipped.mrc")
    np.testing.assert_array_equal(flipped, movie[0][::-1])
    assert flipped.y.values.tolist() == [0, 0.832, 1.664, 2.496, 3.328]


def test_map_and_mask():
    density = save("map.mrc", lengths=(6, 5, 4), **START)
    mask = save("mask.mrc", lengths=(6, 5, 4), seed=2)
    part = save("part_of_mask.mrc", lengths=(3, 2, 2), seed=3, origin=(33.0, 46.5, 61.5))
    names = run("masks")
    masked = xarray_mrc.open_mrc("masked.mrc")
    np.testing.assert_array_equal(masked, density * mask)
    assert xarray_mrc.read_header("masked.mrc").origin == START["origin"]
    np.testing.assert_array_equal(names["difference"], density - mask)
    assert names["difference"].x.values.tolist() == [0, 1.5, 3, 4.5, 6, 7.5]
    wanted = np.zeros_like(density)
    wanted[1:3, 1:3, 2:5] = density[1:3, 1:3, 2:5] * part
    np.testing.assert_array_equal(names["masked"], wanted)


def test_half_maps():
    halves = [save(f"half{i}.mrc", lengths=(8, 8, 8), seed=i) for i in (1, 2)]
    names = run("half-maps")
    np.testing.assert_array_equal(xarray_mrc.open_mrc("average.mrc"), (halves[0] + halves[1]) / 2)
    fsc = names["fsc"]
    assert fsc.frequency.values.tolist() == [0, 1 / 12, 2 / 12, 3 / 12]
    # The shell of one Fourier pixel, summed by hand.
    first, second = (np.fft.fftn(half.astype("f8")) for half in halves)
    sums = np.zeros(3)
    for index in np.ndindex(8, 8, 8):
        if round(float(np.sqrt(sum(min(i, 8 - i) ** 2 for i in index)))) == 1:
            a, b = first[index], second[index]
            sums += (a * b.conjugate()).real, abs(a) ** 2, abs(b) ** 2
    assert float(fsc[1]) == pytest.approx(sums[0] / np.sqrt(sums[1] * sums[2]))
    save("half2.mrc", lengths=(8, 8, 8), voxel=("1.51", "1.5", "1.5"))
    with pytest.raises(xr.AlignmentError):
        run("half-maps")


def save_tilts(path, tilts, seed=1):
    """Write a tilt series of float32 with SerialEM's records, which have 0.01 degree."""
    records = struct.pack(f"<{len(tilts)}h", *[round(100 * tilt) for tilt in tilts])
    lengths = (6, 5, len(tilts))
    return save(
        path, "float32", "image_stack", lengths=lengths, seed=seed, exttyp=b"SERI", nint=2,
        nreal=1, extended=records.ljust(1024, b"\0"),
    )  # fmt: skip


def test_many_files():
    images = [
        save(f"micrograph{i}.mrc", "int16", "image", lengths=(6, 5, 1), seed=i) for i in range(3)
    ]
    tilts = save_tilts("tilts.mrc", (-3, 0, 3))
    names = run("many-files")
    np.testing.assert_array_equal(names["low"], tilts.min(axis=0))
    written = xarray_mrc.open_mrc("micrographs.mrcs")
    assert written.dims == ("image", "y", "x")
    np.testing.assert_array_equal(written, np.stack(images))
    other = save("micrograph3.mrc", "int16", "image", lengths=(6, 5, 1), voxel=("1.6", "1.5", "1"))
    with pytest.raises(xr.AlignmentError):
        run("many-files")
    options = {"combine": "nested", "concat_dim": "image", "join": "exact"}
    stack = xr.open_mfdataset(
        names["paths"] + [Path("micrograph3.mrc")], engine="mrc",
        backend_kwargs={"coords": "none"}, **options,
    )  # fmt: skip
    np.testing.assert_array_equal(stack.data, np.stack([*images, other]))


def test_a_selection_of_particles():
    save("tilts.mrc", "float32", "image_stack", lengths=(6, 4, 4), voxel=("21.48",) * 3)
    images = xarray_mrc.open_mrc("tilts.mrc").values
    with pytest.warns(xarray_mrc.MrcWarning, match="square images"):
        run("write-particles")
    expected = images[[2, 3]].reshape(2, 2, 2, 3, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(xarray_mrc.open_mrc("selected.mrcs"), expected)
    text = Path("selected.star").read_text()
    assert "000001@selected.mrcs" in text
    assert "1\t42.96\t3\n" in text
    assert xarray_mrc.open_stack("selected.star").rlnClassNumber.values.tolist() == [1, 1]


def test_images_that_come_one_by_one():
    names = run("growing")
    assert names["count"] == 5
    np.testing.assert_array_equal(xarray_mrc.open_mrc("movie.mrcs"), names["camera"])
    assert xarray_mrc.read_header("movie.mrcs").voxel_size[:2] == (0.83, 0.83)
    assert names["angles"].tolist() == [0, 3, -3]


def test_tilt_series():
    tilts = (0, 3, -3, 60, -60, 33.33)
    images = save_tilts("tilts.mrc", tilts)
    save("map.mrc", lengths=(6, 5, 4))
    save_tilts("positive.mrc", (0, 3, 6))
    save_tilts("negative.mrc", (-6, -3))
    names = run("tilt-angles")
    for name in ("sorted.mrc", "sorted_too.mrc"):
        written = xarray_mrc.open_mrc(name)
        assert written.tilt_angle.values.tolist() == [-3, 0, 3, 33.33]
        np.testing.assert_array_equal(written, images[[2, 0, 1, 5]])
        assert xarray_mrc.read_header(name).exttyp == b"SERI"
    projections = xarray_mrc.open_mrc("projections.mrc")
    assert names["whole"].tilt_angle.values.tolist() == [-6, -3, 0, 3, 6]
    assert projections.dims == ("image", "y", "x")
    assert projections.tilt_angle.values.tolist() == [0, 10]
    names["series"].mrc.to_mrc("exact.mrc", sidecar="mdoc")
    assert "TiltAngle = 33.33" in Path("exact.mrc.mdoc").read_text("ascii")


def test_particles_and_subvolumes():
    micrographs = [
        save(f"m{n}.mrc", "float32", "image", lengths=(200, 150, 1), seed=n) for n in range(2)
    ]
    head = "data_\n\nloop_\n_rlnMicrographName #1\n"
    Path("micrographs.star").write_text(f"{head}m0.mrc\nm1.mrc\n")
    names = (
        "rlnMicrographName", "rlnCoordinateX", "rlnCoordinateY", "rlnOriginXAngst",
        "rlnOriginYAngst", "rlnClassNumber",
    )  # fmt: skip
    # Shifted by 2 and -3 pixels, without a shift, and one beyond the edge.
    rows = ["m1.mrc 100 80 3.0 -4.5 2", "m0.mrc 50 60 0 0 1", "m1.mrc 5 70 0 0 2"]
    columns = "".join(f"_{name} #{n}\n" for n, name in enumerate(names, 1))
    optics = "data_optics\n\nloop_\n_rlnOpticsGroup #1\n1\n\n"
    table = "data_particles\n\nloop_\n" + columns + "\n".join(rows)
    Path("particles.star").write_text(f"{optics}{table}\n")
    volume = save("tomogram.mrc", lengths=(99, 60, 40))
    found = run("extract")
    particles = found["particles"]
    wanted = [micrographs[1][51:115, 66:130], micrographs[0][28:92, 18:82]]
    np.testing.assert_array_equal(particles, np.stack(wanted))
    np.testing.assert_array_equal(found["average"], wanted[0])
    assert particles.rlnMicrographName.values.tolist() == ["m1.mrc", "m0.mrc"]
    assert particles.center_x.values.tolist() == [98 * 1.5, 50 * 1.5]
    wanted = [volume[16:24, 24:36, 34:46], volume[23:31, 29:41, 44:56]]
    np.testing.assert_array_equal(found["subvolumes"], np.stack(wanted))
    assert found["subvolumes"].score.values.tolist() == [0.8, 0.6]


def test_part_of_a_map_with_symmetry():
    operators = ("X,Y,Z", "1/2-X,-Y,1/2+Z", "-X,1/2+Y,1/2-Z", "1/2+X,1/2-Y,-Z")
    extended = b"".join(operator.encode().ljust(80) for operator in operators)
    numbers = save("crystal.map", lengths=(20, 16, 12), ispg=19, extended=extended, exttyp=b"CCP4")
    run("crystal")
    header = xarray_mrc.read_header("part.map")
    assert (header.ispg, header.m, header.nsymbt) == (19, (20, 16, 12), 320)
    np.testing.assert_array_equal(xarray_mrc.open_mrc("part.map"), numbers[:, 2:9, 4:11])
    # Another program finds the values at their places in the cell.
    found = gemmi.read_ccp4_map("part.map")
    found.setup(float("nan"), gemmi.MapSetup.NoSymmetry)
    grid = np.array(found.grid, copy=False)
    np.testing.assert_array_equal(grid[4:11, 2:9, :], numbers.T[4:11, 2:9, :])
    assert np.isnan(grid[11:]).all()


def test_binning_and_padding():
    numbers = save("map.mrc", lengths=(99, 6, 6), **START)
    names = run("bin")
    assert set(names["binned"].x.values) <= set(names["density"].x.values)
    binned = xarray_mrc.open_mrc("binned.mrc")
    np.testing.assert_allclose(binned[0, 0, 0], numbers[:3, :3, :3].mean(), rtol=1e-6)
    assert binned.mrc.voxel_size == {"x": 4.5, "y": 4.5, "z": 4.5}
    assert (binned.x[0], binned.y[0], binned.z[0]) == (31.5, 46.5, 61.5)
    padded = xarray_mrc.open_mrc("padded.mrc")
    np.testing.assert_array_equal(padded[:, 4:-4, 4:-4], numbers)
    assert padded.x.values[:5].tolist() == [24, 25.5, 27, 28.5, 30]


def test_eight_bit():
    laid = lay("uint8", lengths=(8, 8, 4), imod_stamp=0, imod_flags=0, nversion=0)
    numbers = np.arange(256, dtype="u1").reshape(4, 8, 8)
    raw = bytearray(laid.raw[:1024] + numbers.tobytes())
    struct.pack_into("<3f", raw, 76, 0, 255, 127.5)
    Path("bytes.mrc").write_bytes(raw)
    names = run("eight-bit")
    np.testing.assert_array_equal(names["da"], numbers)
    written = Path("unsigned.mrc").read_bytes()
    assert written[-256:] == numbers.tobytes()
    # IMOD's stamp without flag 1 (signed), and with flag 4 (the standard's sign of ORIGIN).
    assert struct.unpack_from("<2i", written, 152) == (1146047817, 4)
    assert Path("bytes.mrc").read_bytes() == raw


def test_every_recipe_has_a_test():
    source = Path(__file__).read_text("utf-8")
    assert all(f'run("{name}")' in source for name in RECIPES)


def test_batches(monkeypatch):
    torch_stand_in.install(monkeypatch)
    tilts = save("tilts.mrc", "float32", "image_stack", lengths=(6, 5, 4))
    names = run("batches")
    assert names["images"].shape[1:] == (5, 6)
    orders = set()
    for _ in range(12):
        pairs = list(names["loader"])
        classes = np.concatenate([classes for _, classes in pairs])
        assert sorted(classes) == [1, 1, 1, 2]
        images = np.concatenate([images for images, _ in pairs])
        assert sorted(images.sum((1, 2))) == sorted(tilts.sum((1, 2)))
        orders.add(tuple(images.sum((1, 2))))
    assert len(orders) > 1  # although the workers, which stay, keep their seeds
    (alone,) = names["torch"].utils.data.DataLoader(names["Particles"](), batch_size=None)
    assert np.shape(alone[0]) == (4, 5, 6)
