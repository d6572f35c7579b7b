"""The page's fixed texts: what is seen, what it does not show, and the terms."""

from abn.app.figures import notes

TITLE = "# Adaptive Bias Networks: a microscope for channel modulation\n"

INTRODUCTION = """
Two image classifiers look at the same picture: **{baseline}** and, beside it, **{dmb}**, which turns each of its channels
up or down for every picture anew. **Upload a picture or choose an example:** you see what each answers and, in the tabs
below the answers, which channels were turned up or down and which pixels spoke for the answer. The tab Glossary explains
the terms.
"""

TWO_MODULATED = """
Two image classifiers look at the same picture: **{baseline}** and **{dmb}**. Both turn each of their channels up or down
for every picture anew. You see what each answers and, in the tabs below the answers, which channels were turned up or
down and which pixels spoke for the answer. The tab Glossary explains the terms.
"""

NETWORKS = """
Instead of this app's own, on your page alone: a checkpoint of this project's format on the Hub, `user/repo` or
`user/repo@revision`. The right network has to be a modulated one; both have to tell the same classes apart.
"""

NETWORKS_FOLDERS = """
Instead of this app's own, on your page alone: a checkpoint of this project's format, in a folder of this machine or on the
Hub (`user/repo` or `user/repo@revision`). The right network has to be a modulated one; both have to tell the same classes
apart.
"""

NETWORKS_FAILED = "**Nothing was changed;** the message at the corner says why."

LINK_NETWORKS = "The link's networks cannot be had, so this app's own are shown. {reason}"
LINK_LOADING = (
    "Loading {names} from the Hub, as the link asks. The page opens when that is done; if it fails, with this app's own "
    "networks."
)
LINK_REFUSED = "The link asks for what this page does not have ({what}); the usual is shown instead."
LINK_SHOWN = "The address of this page is a link to what you see, picture and settings."
LINK_FOLDER = (
    "It does not carry a network that was chosen from a folder: whoever opens it sees this app's own in its place."
)
LINK_UPLOAD = (
    "The address of this page is a link to your settings and **not to your picture**, which is never shared: whoever "
    "opens it sees an example."
)

LINK_OPENED = "What a file holds cannot be linked to; pass the file on."

TAKE_AWAY = """
What the page shows of this picture, as files. Each says how it came about: hashes of the picture and of both networks'
weights, library versions, device, and every option.
*What this does not hold: your picture as you sent it. The files have the 32 × 32 pixels that the networks saw.*
"""
WITH_MAPS = "The files hold the attribution maps too ({method} for {target})."
WITHOUT_MAPS = "The files hold no attribution maps yet: none were computed for this picture as it is shown."
OPEN = """
A `result.json` that was taken away, here or elsewhere, alone or in the zip of everything, can be looked at again: it is
shown as it was found, and nothing is computed anew. `abn replay` does that.
"""
OPENED = (
    "**Shown from a file,** not computed here: {first} (weights {first_hash}…) and {second} (weights {second_hash}…), "
    "on {hardware}. Upload a picture or choose an example to go on with this page's networks."
)
OPENED_MAPS = "{method} for **{target}**, from the file. Choose a picture to compute maps with other settings."
OPENED_NO_MAPS = "The file holds no attribution maps."

EARLIER = (
    "**The last request failed.** What stands below belongs to the picture and settings before it; the message at "
    "the corner says what went wrong."
)

NOTHING_HERE = (
    "The server has no result of this page: upload a picture or choose an example. (What stands on a page that was not "
    "used for a long time is forgotten.)"
)

REMOVED = "There is no picture, or the one you sent did not arrive. What stands below, if anything, belongs to the last one."

KEPT = "Uploaded pictures are used for this page alone and deleted from the server after at most {within}."


def _with_note(text: str, not_shown: str) -> str:
    return f"{text}*{notes.NOT_SHOWN} {not_shown}*\n"


TOPS = _with_note(
    """
Each network's five highest classes, by **raw softmax**. Choose a class to make it the target of the attribution.
""",
    notes.PROBABILITIES,
)

FACTORS = _with_note(
    """
Each cell is one channel of one block; its colour shows the **factor** that the channel was multiplied with, by default as
its distance from the channel's mean over the data set. Choose a cell, a row of a table, or a block and a channel
below to see the exact sum behind the factor. Drag along narrow cells to widen them; a double click shows all again.
""",
    notes.FACTORS,
)

GATES = _with_note(
    """
Each block mixes its {biases} **bias vectors** by **gate weights** that sum to 1. Each dot is one weight's distance from an
equal share, 1/{biases}, in thousandths.
""",
    notes.GATES,
)

RESPONSES = _with_note(
    """
Each box is how one network's **responses** spread in one block: its second convolution's mean output in every channel,
**before** any factor.
""",
    notes.RESPONSES,
)

ATTRIBUTION = _with_note(
    """
Red for the **target** class, blue against it, as the chosen method has it: of Saliency and SmoothGrad, whether a brighter pixel
would raise or lower the target; of the others, what spoke for it or against it. Both networks share one scale.
""",
    notes.ATTRIBUTION,
)

REGIONS = """
The {values} of each map over 4 × 4 regions, in the map's unit ({unit}). Rows count from the top, columns from the left, both
from 0.

"""

RESULTS_NONE = """
No results yet: nothing here says whether the claim holds. `abn reproduce --data DIR` trains every network
from several seeds, and this tab then answers from what it writes to `results/`.
"""

RESULTS_NO_PAIR = "**Not answered yet:** no table here has a seed that finished both ResNet-S and ResNet-DMB."

RESULTS_CLAIM = """
The claim: {dmb:.2f} % of the test images for ResNet-DMB against {static:.2f} % for ResNet-S, {difference} points, by one run
each, of which the paper takes the best epoch on the test set.
"""

RESULTS = """
*What this does not show: whether other data, other networks or another recipe would say the same. A difference that these
seeds do not show may still be there. From three seeds on the table says how many would detect one of the paper's size, and in
brackets for the 95 % limits of the spread between seeds. Intervals and p-values are corrected together for all planned
contrasts, also where some are not trained yet.*
"""

ARMS = """
Every **arm** is trained by the same recipe from the same seeds. **ResNet-S:** plain convolutions. **ResNet-DMB:** the paper's
network. **Bank only:** its bank and gates without `W`, the paper's own idea alone. **No gates:** `W` and one static bias in
place of the bank. **SE:** squeeze-and-excitation in place of the modulation. **Awake:** ResNet-DMB with three changes under
which, in short runs, its bank is used: gates that see a standardised `c`, a temperature of 0.1, and 10 × the learning rate for
bank and gates.
"""

RESULTS_NO_TABLE = "There is no table of these runs; the note below says why."
RESULTS_NO_CURVES = "There are no curves: the runs were tested after their last epoch alone."

BANKS = """
What the **banks** of the networks that have gates did after the last epoch, over all test images, a mean over the blocks. A bank
that makes under 5 % of what varies in the pre-activations between images counts as idle. Gates with a mean entropy of at least
0.99 log K count as uniform, and others that differ between images by less than 0.01 log K as the same for every image.

"""

CURVES = """
The **learning curves**: test accuracy after each epoch, a line a run.

"""

AUDIT = """
## What does the trained modulation do?
The same network over all test images, with its factors as they are and frozen in several ways. After the factors comes a
batch normalisation, bn2; frozen factors change what it gets, so each way is also shown with bn2's statistics re-estimated.
*What this does not show: what a network trained without the modulation would reach. That is the comparison above.*
"""

AUDIT_BLOCKS = (
    "Each block: variance of a factor over the images (mean over the channels) and how much of it lies between classes; "
    "entropy of the gates over log K; in how many images each bias vector leads; the bank's share of the pre-activation m, "
    "and of what varies in m between images"
)

AUDIT_CONDITIONS = (
    "Accuracy, with bn2 as trained and with bn2 re-estimated; free minus frozen, in points, with 95 % intervals paired over "
    "the images"
)

AUDIT_NONE = """
## What does the trained modulation do?
Not measured yet: `abn audit checkpoints/resnet-dmb --data DIR` answers it over all test images.
"""

GLOSSARY = """
## What the page shows
`x` is the input of a block's second convolution and `c` its mean over the pixels. {dmb} computes
`α = softmax(G c + g)`, `m = W c + B α`, `f = 1 + tanh(m)` and rescales the convolution's channels by `f`.

| term | meaning |
|---|---|
| **block** | two convolutions and a shortcut around them; `layer2.0` is the first block of the second stage |
| **channel** | one of the feature maps a convolution makes; the blocks here have {channels} |
| **factor** `f` | what a channel is multiplied with, between 0 and 2; 1 changes nothing |
| **linear term** `W c` | the part of a factor's sum that a matrix makes of the pooled input |
| **bias bank** `B` | K learned vectors, one value a channel each, the same for every picture |
| **gate weights** `α` | how much of each bias vector this picture gets; they sum to 1 |
| **bias term** `B α` | the bias vectors, mixed by the gate weights |
| **pre-activation** `m` | the sum of linear term and bias term, before the tanh |
| **residual** | what a sum computed here misses of the network's own value, by rounding |
| **bn2** | the batch normalisation after a block's second convolution, which the factors go through |
| **deviation** | a factor minus its mean over the data set, in standard deviations (sd) of that channel |
| **percentile** | the share of the data set's pictures with a lower factor in that channel |
| **percentile in class** | the same among the data set's pictures of the class that the network says |
| **entropy** | of the gate weights, as a share of the largest possible: 1 means all equal |
| **response** | a convolution's mean output in one channel, before its factor |
| **logit** | a class's score, before the softmax |
| **raw softmax** | the probabilities as the network gives them: they are not calibrated, so 99 % is not "right 99 times in 100" |
| **attribution** | a signed number for every pixel, by one of several methods that need not agree; with some a share of the answer |
| **target** | the class whose logit is attributed; with another class "against" it, the difference of the two logits |
| **stage**, **ReLU** | of Grad-CAM: the blocks behind which its map is taken, and whether negative parts are left out |
| **window**, **stride** | of Occlusion: the square that is covered, and how far it moves, in pixels |
| **samples**, **noise** | of SmoothGrad: how many noisy copies the gradient is averaged over, and how noisy they are |
| **baseline**, **steps** | of Integrated Gradients: the picture it starts from, and in how many steps it goes to yours |
| **convergence delta** | by how much Integrated Gradients' shares miss the sum they should have |
| **overlay** | the map over the picture |
| **arm** | one network of the experiment, trained by one recipe on the same seeds as the others |
| **contrast** | ResNet-DMB minus another arm, seed by seed; in 95 of 100 such experiments all the contrasts' simultaneous intervals have their true difference |
| **p, alone**; **p, corrected** | how probable so large a difference is by chance alone; the same, corrected (Bonferroni) for all the contrasts that were planned: below 0.05 exactly where the simultaneous interval leaves 0 out |
| **idle bank** | one that makes under 5 % of what varies in the pre-activations between pictures |

## What it cannot show
- Both networks know only {classes} classes, at 32 × 32 pixels, and answer with one of them whatever they see.
- A factor that is the same for every picture tells no two of them apart: the batch normalisation behind it was trained to
  expect it.
- The paper's claim is a difference of 0.37 points, from one run each: two pictures on a page do not decide it.
"""
