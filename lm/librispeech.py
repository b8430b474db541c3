"""What LibriSpeech's n-grams are made from: the books of its own text corpus, and the transcripts of train.

Both leave out the books of dev and test (Panayotov et al., ICASSP 2015).
"""

from asrkit.language_model import LanguageModel, ReadyMade, TextDownload, TrainTranscripts

LM = LanguageModel(
    text=(
        TextDownload(
            url="http://www.openslr.org/resources/11/librispeech-lm-norm.txt.gz",  # some 1.5 GB, 800 million words
            licence="public domain",
        ),
        TrainTranscripts(),
    ),
    order=4,
    prune=(0, 0, 1, 1),
    ready=(
        # sizes as Kaldi's egs/librispeech/s5/local/download_lm.sh has them; OpenSLR publishes no checksums of these
        ReadyMade(
            name="3-gram.pruned.3e-7",
            url="http://www.openslr.org/resources/11/3-gram.pruned.3e-7.arpa.gz",
            size=13_654_242,
            licence="public domain",
            order=3,
        ),
        ReadyMade(
            name="3-gram.pruned.1e-7",
            url="http://www.openslr.org/resources/11/3-gram.pruned.1e-7.arpa.gz",
            size=34_094_057,
            licence="public domain",
            order=3,
        ),
        ReadyMade(
            name="3-gram",
            url="http://www.openslr.org/resources/11/3-gram.arpa.gz",
            size=759_636_181,
            licence="public domain",
            order=3,
        ),
        ReadyMade(
            name="4-gram",
            url="http://www.openslr.org/resources/11/4-gram.arpa.gz",
            size=1_355_172_078,
            licence="public domain",
            order=4,
        ),
    ),
)
