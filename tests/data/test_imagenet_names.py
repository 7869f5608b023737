"""What wnids mean, where they are classes of 2012."""

import re

from alexnet_exp.data.sources.imagenet import readable, wnids

# Some classes with their place among the 1,000, as Imagenette, Imagewoof and others name them.
KNOWN = {
    0: ("n01440764", "tench"), 155: ("n02086240", "Shih-Tzu"), 162: ("n02088364", "beagle"),
    207: ("n02099601", "golden retriever"), 217: ("n02102040", "English springer"),
    258: ("n02111889", "Samoyed"), 273: ("n02115641", "dingo"), 281: ("n02123045", "tabby"),
    482: ("n02979186", "cassette player"), 491: ("n03000684", "chain saw"),
    497: ("n03028079", "church"), 566: ("n03394916", "French horn"),
    569: ("n03417042", "garbage truck"), 571: ("n03425413", "gas pump"),
    574: ("n03445777", "golf ball"), 701: ("n03888257", "parachute"),
    999: ("n15075141", "toilet tissue"),
}  # fmt: skip


def test_wnids_of_2012_are_called_as_torchvision_calls_them() -> None:
    assert len({*wnids()}) == len(wnids()) == 1000
    assert list(wnids()) == sorted(wnids())
    assert all(re.fullmatch(r"n\d{8}", wnid) for wnid in wnids())
    names = readable(wnids())
    for place, (wnid, name) in KNOWN.items():
        assert (wnids()[place], names[place]) == (wnid, name)
    assert len(set(names)) == 1000


def test_some_of_them_in_any_order_are_called_so_too() -> None:
    some = list(KNOWN.values())[::-1]
    assert readable([wnid for wnid, _ in some]) == [name for _, name in some]


def test_other_names_stay() -> None:
    for names in ([], ["rose", "daisy"], ["n01440764", "n16000000"], ["n01440764", "rose"]):
        assert readable(names) == names
