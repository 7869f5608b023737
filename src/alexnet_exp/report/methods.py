"""How the figures of a report were made, and where they may mislead."""

METHODS = (
    "Errors are of the test images, with the checkpoint of lowest validation error. A difference"
    " is the error with the change less that without it, in percentage points: positive means that"
    " the change makes things worse.",
    "Pairing: two runs are compared where their whole configurations differ in nothing but the"
    " fields that the experiment sets, found by composing the configuration with and without it."
    " Runs are paired by seed, and image by image. Other pairings are refused and named. Of two"
    " runs with the same configuration and seed the newer counts. Strategy and number of devices"
    " belong to no configuration, since they do not change what is computed: of one seed under"
    " several, the run under the strategy with most seeds counts, then the one on fewest devices.",
    "Intervals (95 %) hold for other seeds and for other test images of the same kind: seeds and"
    " images are crossed random effects, with a bootstrap over both for the shape and t's tails"
    " for few seeds. They do not hold for other data sets. With one seed there is no interval.",
    "Many comparisons: p-values are two-sided and corrected by Holm's method over all differences"
    " and ratios of this report, top-1 and top-5 apart. That bounds the probability of even one"
    " wrong difference by 5 % where no difference exists. The intervals are not corrected, so one"
    " may leave 0 out although its claim is not resolved. A report over more experiments or data"
    " sets corrects for more.",
    "Verdicts on changes: reproduced, if the corrected p-value is below 5 % and the sign is the"
    " published one; contradicted, if the sign is the other; else not resolved. Reproduced speaks"
    " of the direction. Smaller or larger than published is added where the interval leaves out"
    " the published size; this is not corrected for the number of claims. Where prose names no"
    " size the sign alone decides. Not resolved does not mean no difference.",
    "Not above chance: an error that is not at least two standard errors (of these test images)"
    " below that of naming the most frequent class for every image, or the five most frequent for"
    " top-5, is that of a network that did not train. Claims about it are not resolved, whatever"
    " the difference.",
    "What would resolve a claim: the number of seeds on these images, or of images with these"
    " seeds, that shows the published difference (the observed one, where none was published) with"
    " a power of 80 % after the correction. It rests on variances that few seeds know roughly.",
    "Verdicts on error rates: only on the published data set, classes, network and views;"
    " reproduced if the whole interval lies within 1 point of the published figure, contradicted"
    " if the whole interval lies farther off, else not resolved. There is no p-value, so these"
    " verdicts stand outside Holm's correction. The published figure is itself one run, whose own"
    " spread is unknown.",
    "Epochs to 25 % training error: the first epoch whose mean training error, as counted during"
    " the epoch with its augmentation and dropout, is at most 25 %. Each activation has the"
    " learning rate that needs the fewest epochs on average over its seeds. Rates are chosen on"
    " the same runs that are then compared, which flatters both sides and the one with more rates"
    " more. The ratio is a geometric mean over seeds. Where one side never gets there, the epochs"
    " that it was run for give a bound, which has no interval.",
    "Training time of two towers and of the one-GPU network: seconds per epoch with validation, the"
    " one under strategy=towers on two devices, the other on one, paired by seed; the ratio is a"
    " geometric mean with Student's interval on its logarithm. Seeds stand for repetitions on the"
    " same machine; what else ran there is not known. Two processes of one processor are not two"
    " GPUs, and other devices on the two sides allow no comparison: then there is no verdict.",
    "Where this may mislead: the published figures are single runs, most of them on a million"
    " images. A factor may be worth more or less on other data, with other widths or fewer epochs,"
    " and its removal may call for another learning rate, which is not tuned here except for"
    " activations. Adding seeds until a verdict changes makes wrong verdicts more likely than 5 %:"
    " settle their number first. The validation split chose the checkpoint, so its error is not"
    " reported. Diverged runs are left out and named. A change whose runs or"
    " baseline lost a seed so is not resolved, since those left may be the lucky ones.",
)
