"""The page's fixed texts: what is seen, what it does not show, and the terms."""

INTRODUCTION = """
# Adaptive Bias Networks: a microscope for channel modulation
Two networks look at the same picture: **{baseline}** and, beside it, **{dmb}**, which rescales the channels of its
convolutions for every picture. Upload a picture or choose an example; then see what each says, which channels were
rescaled, and where each looked.
"""

KEPT = "Uploaded pictures are used for this page alone and deleted from the server after at most {minutes} minutes."

TOPS = "Raw softmax, the five highest. Choose a class to make it the target of the attribution."

FACTORS = """
Each cell is one channel of one block: how far its **factor** lies from what is usual for that channel over the data
set. Click a cell, or a row of the table, to open its exact sum.
*What this does not show: whether a channel matters for the answer. An unusual factor may change nothing.*
"""

GATES = """
Each block mixes its {biases} **bias vectors** by gate weights that sum to 1. The bars are their distances from
1/{biases}, on an axis of thousandths.
*What this does not show: what a bias vector stands for, or whether the bank is needed at all.*
"""

RESPONSES = """
The mean output of each block's second convolution, one value a channel, **before** any factor, as two distributions.
*What this does not show: corresponding channels. The two networks were trained apart, so channel 17 of one has
nothing to do with channel 17 of the other, and they are never subtracted.*
"""

ATTRIBUTION = """
Where each network looked for the target class: red pixels speak for it, blue ones against. Both networks share one
scale.
*What this does not show: that a network would answer otherwise without those pixels, or that its reason is a good one.*
"""

GLOSSARY = """
### What the page shows
`x` is the input of a block's second convolution and `c` its mean over the pixels. {dmb} computes
`α = softmax(G c + g)`, `m = W c + B α`, `f = 1 + tanh(m)` and rescales the convolution's channels by `f`.

| term | meaning |
|---|---|
| **channel** | one of the feature maps a convolution makes; the blocks here have {channels} |
| **factor** `f` | what a channel is multiplied with, between 0 and 2; 1 changes nothing |
| **linear term** `W c` | the part of a factor's sum that a matrix makes of the pooled input |
| **bias bank** `B` | K learned vectors, one value a channel each, the same for every picture |
| **gate weights** `α` | how much of each bias vector this picture gets; they sum to 1 |
| **bias term** `B α` | the bias vectors, mixed by the gate weights |
| **deviation** | a factor minus its mean over the data set, in standard deviations (sd) of that channel |
| **percentile** | the share of the data set's pictures with a lower factor in that channel |
| **entropy** | of the gate weights, as a share of the largest possible: 1 means all equal |
| **response** | a convolution's mean output in one channel, before its factor |
| **raw softmax** | the probabilities as the network gives them: they are not calibrated, so 99 % is not "right 99 times in 100" |
| **attribution** | a signed share of the answer for every pixel, by one of several methods that need not agree |
| **target** | the class whose logit is attributed, or one class's minus another's |
| **convergence delta** | by how much Integrated Gradients' shares miss the sum they should have |

### What it cannot show
- Both networks know only {classes} classes, at 32 × 32 pixels, and answer with one of them whatever they see.
- A factor that is the same for every picture does nothing: the batch normalisation behind it absorbs it.
- The paper's claim is a difference of 0.37 points, from one run each: two pictures on a page do not decide it.
"""
