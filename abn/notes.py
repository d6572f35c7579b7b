"""What each kind of picture does not show: sentences that go wherever it goes."""

from __future__ import annotations

PROBABILITIES = (
    'Raw softmax, not calibrated: 99 % is not "right 99 times in 100", and a network answers with one of its classes '
    "whatever it sees."
)
FACTORS = "Whether a channel matters for the answer. An unusual factor may change nothing."
GATES = "What a bias vector stands for, or whether the bank is needed at all."
ATTRIBUTION = (
    "That a network would answer otherwise without those pixels, or that its reason is a good one. Methods need not "
    "agree."
)
DIFFERENCE = "Which network is right. Where both maps are strong and alike, their difference is pale."
RESPONSES = (
    "Corresponding channels. The two networks were trained apart, so channel 17 of one has nothing to do with "
    "channel 17 of the other, and they are never subtracted."
)
