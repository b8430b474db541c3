"""`asrkit decode`, `tune`, `transcribe`: words of the command line in, one call of a verb that searches out."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from asrkit.options import (
    LM,
    Alpha,
    AsJson,
    Beam,
    BeamPruneLogp,
    Beta,
    ClosedVocab,
    DeviceName,
    Engine,
    ExpDir,
    Hotwords,
    HotwordScore,
    TokenAlpha,
    TokenBeta,
    TokenLM,
    TokenMinLogp,
    UnitName,
    UnkScore,
    json_text,
    names,
    numbers,
    phrases,
    terminals,
)

RunName = Annotated[str | None, typer.Argument(help="Name or path of a run.", show_default="the newest")]
DataDirAsTrained = Annotated[
    str | None,
    typer.Option(help="Where prepared data lies: a folder, or s3://... or https://...", show_default="as trained"),
]
Jobs = Annotated[int | None, typer.Option(min=1, help="Searches at a time.", show_default="one for each core")]


def decode(
    run: RunName = None,
    split: Annotated[str | None, typer.Option(help="Splits, separated by commas.", show_default="test")] = None,
    lm: LM = None,
    token_lm: TokenLM = None,
    unit: UnitName = None,
    engine: Engine = None,
    beam: Beam = None,
    alpha: Alpha = None,
    beta: Beta = None,
    unk_score: UnkScore = None,
    closed_vocab: ClosedVocab = None,
    token_alpha: TokenAlpha = None,
    token_beta: TokenBeta = None,
    token_min_logp: TokenMinLogp = None,
    beam_prune_logp: BeamPruneLogp = None,
    hotwords: Hotwords = None,
    hotword_score: HotwordScore = None,
    n_best: Annotated[int | None, typer.Option(min=1, help="Hypotheses kept.", show_default="as in the recipe")] = None,
    noise: Annotated[
        Path | None, typer.Option(help="Once more among these noises: a folder, a manifest or prepared.")
    ] = None,
    snr: Annotated[
        str | None,
        typer.Option(help="How much louder the speech is, in dB, separated by commas.", show_default="20,10,5,0"),
    ] = None,
    rir: Annotated[
        Path | None, typer.Option(help="Once more in these rooms: impulse responses, in the same ways.")
    ] = None,
    jobs: Jobs = None,
    device: DeviceName = "auto",
    as_json: AsJson = False,
    data_dir: DataDirAsTrained = None,
    exp_dir: ExpDir = Path("exp"),
) -> None:
    """Report word and character error rates.

    Greedy without --lm, beam search with it. Reports and hypotheses lie in the run's folder, under decode/.

    \b
    Examples:
      asrkit decode
      asrkit decode --lm 4gram.arpa
      asrkit decode --lm 4gram.arpa --token-lm letters.arpa
      asrkit decode --split dev-clean,dev-other --lm 4gram.arpa.gz --beam 200 --alpha 0.7 --beta 1.5
      asrkit decode --lm 4gram.arpa --closed-vocab --n-best 10
      asrkit decode --lm 4gram.arpa --hotwords names.txt
      asrkit decode --noise street --snr 20,10,5,0 --rir responses
      asrkit decode exp/RECIPE/20261121-093000 --json
    """
    from asrkit.decode import decode

    news, machine = terminals(as_json)
    reports = decode(
        run,
        exp_dir=exp_dir,
        data_dir=data_dir,
        splits=names(split),
        lm=lm,
        token_lm=token_lm,
        unit=unit,
        engine=engine,
        beam=beam,
        alpha=alpha,
        beta=beta,
        unk_score=unk_score,
        closed_vocab=closed_vocab,
        token_alpha=token_alpha,
        token_beta=token_beta,
        token_min_logp=token_min_logp,
        beam_prune_logp=beam_prune_logp,
        hotwords=phrases(hotwords),
        hotword_score=hotword_score,
        n_best=n_best,
        noise=noise,
        snrs_db=numbers("--snr", snr),
        rir=rir,
        jobs=jobs,
        device=device,
        progress=news,
    )
    if as_json:
        machine.write(json_text(reports, indent=2))


def tune(
    run: RunName = None,
    lm: LM = None,
    token_lm: TokenLM = None,
    unit: UnitName = None,
    split: Annotated[str | None, typer.Option(help="Splits, separated by commas.", show_default="dev")] = None,
    by: Annotated[
        Literal["both", "wer", "cer"], typer.Option(help="What is to be small: WER, CER without spaces, or their sum.")
    ] = "both",
    engine: Engine = None,
    beam: Beam = None,
    unk_score: UnkScore = None,
    closed_vocab: ClosedVocab = None,
    jobs: Jobs = None,
    device: DeviceName = "auto",
    as_json: AsJson = False,
    data_dir: DataDirAsTrained = None,
    exp_dir: ExpDir = Path("exp"),
) -> None:
    """Find the best weights of an n-gram on dev.

    Searches alpha and beta (of labels, token alpha and token beta), then a beam that is wide enough. What is found is
    kept in the run: decode and transcribe use it with the same n-gram. Draws the error rate over alpha and beta.

    \b
    Examples:
      asrkit tune --lm 4gram.arpa
      asrkit tune exp/RECIPE/20261121-093000 --lm letters.arpa --by cer
    """
    from asrkit.tune import tune

    news, machine = terminals(as_json)
    found = tune(
        run,
        lm=lm,
        token_lm=token_lm,
        unit=unit,
        splits=names(split),
        by=by,
        engine=engine,
        beam=beam,
        unk_score=unk_score,
        closed_vocab=closed_vocab,
        jobs=jobs,
        device=device,
        data_dir=data_dir,
        exp_dir=exp_dir,
        progress=news,
    )
    if as_json:
        machine.write(json_text(found, indent=2))


def transcribe(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Sound files of any length, rate and format.")],
    run: Annotated[str | None, typer.Option(help="Name or path of a run.", show_default="the newest")] = None,
    lm: LM = None,
    token_lm: TokenLM = None,
    unit: UnitName = None,
    engine: Engine = None,
    beam: Beam = None,
    alpha: Alpha = None,
    beta: Beta = None,
    unk_score: UnkScore = None,
    closed_vocab: ClosedVocab = None,
    token_alpha: TokenAlpha = None,
    token_beta: TokenBeta = None,
    token_min_logp: TokenMinLogp = None,
    beam_prune_logp: BeamPruneLogp = None,
    hotwords: Hotwords = None,
    hotword_score: HotwordScore = None,
    channels: Annotated[Literal["mix", "each"], typer.Option(help="Mix channels, or transcribe each.")] = "mix",
    device: DeviceName = "auto",
    as_json: AsJson = False,
    exp_dir: ExpDir = Path("exp"),
) -> None:
    """Write down what is said in sound files.

    \b
    Examples:
      asrkit transcribe talk.mp3
      asrkit transcribe a.wav b.flac c.opus --lm 4gram.arpa
      asrkit transcribe call.wav --channels each --json > call.jsonl
    """
    from asrkit.transcribe import transcribe

    news, machine = terminals(machine_output=True)
    found = transcribe(
        files,
        run=run,
        exp_dir=exp_dir,
        channels=channels,
        progress=news,
        lm=lm,
        token_lm=token_lm,
        unit=unit,
        engine=engine,
        beam=beam,
        alpha=alpha,
        beta=beta,
        unk_score=unk_score,
        closed_vocab=closed_vocab,
        token_alpha=token_alpha,
        token_beta=token_beta,
        token_min_logp=token_min_logp,
        beam_prune_logp=beam_prune_logp,
        hotwords=phrases(hotwords),
        hotword_score=hotword_score,
        device=device,
    )
    named = len(files) > 1 or channels == "each"
    for transcript in found:
        machine.write(json_text(transcript) if as_json else _transcript_line(transcript, named=named))


def _transcript_line(transcript: dict[str, Any], *, named: bool) -> str:
    channel = transcript.get("channel")
    where = transcript["file"] if channel is None else f"{transcript['file']} channel {channel}"
    return f"{where}: {transcript['text']}" if named else str(transcript["text"])
