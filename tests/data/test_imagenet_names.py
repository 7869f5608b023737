"""What wnids mean, where they are the classes of 2012."""

from alexnet_exp.data.sources.imagenet import readable

# Ten classes with their place among the 1,000, as Imagenette names them.
KNOWN = {
    0: ("n01440764", "tench"), 217: ("n02102040", "English springer"),
    482: ("n02979186", "cassette player"), 491: ("n03000684", "chain saw"),
    497: ("n03028079", "church"), 566: ("n03394916", "French horn"),
    569: ("n03417042", "garbage truck"), 571: ("n03425413", "gas pump"),
    574: ("n03445777", "golf ball"), 701: ("n03888257", "parachute"),
    999: ("n15075141", "toilet tissue"),
}  # fmt: skip


def wnids() -> list[str]:
    """1,000 in ascending order, with the known ones in their places."""
    found, last = [], 1440763
    for place in range(1000):
        last = int(KNOWN[place][0][1:]) if place in KNOWN else last + 1
        found.append(f"n{last:08d}")
    return found


def test_wnids_of_2012_are_called_as_torchvision_calls_them() -> None:
    names = readable(wnids())
    assert {place: names[place] for place in KNOWN} == {p: name for p, (_, name) in KNOWN.items()}
    assert len(set(names)) == 1000


def test_other_names_stay() -> None:
    shifted = [*wnids()[1:], "n16000000"]  # another 1,000 classes, as those of 2010
    for names in (["rose", "daisy"], wnids()[:999], shifted, wnids()[::-1]):
        assert readable(names) == names
