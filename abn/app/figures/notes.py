"""What each kind of picture does not show: a sentence that goes wherever it goes, on the page and in files."""

from __future__ import annotations

NOT_SHOWN = "What this does not show:"
"""What stands before each of the sentences."""

PROBABILITIES = (
    'how likely an answer is to be right. Raw softmax is not calibrated: 99 % is not "right 99 times in 100", and a '
    "network answers with one of its classes whatever it sees."
)
FACTORS = "whether a channel matters for the answer. An unusual factor may change nothing."
GATES = "what a bias vector stands for, or whether the bank is needed at all."
ATTRIBUTION = (
    "that a network would answer otherwise without those pixels, or that its reason is a good one. Methods need not "
    "agree."
)
DIFFERENCE = "which network is right. Where both maps are strong and alike, their difference is pale."
RESPONSES = (
    "corresponding channels. The two networks were trained apart, so channel 17 of one has nothing to do with "
    "channel 17 of the other, and they are never subtracted. Nor is it a finding that one network's are larger: the "
    "batch normalisation that follows takes scale and offset away."
)
