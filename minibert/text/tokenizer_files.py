"""A tokenizer on disk, as Hugging Face's BERT has it: vocab.txt, tokenizer.json, tokenizer_config.json."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing

from minibert.errors import InputError
from minibert.files import write_atomically
from minibert.text.wordpiece import CONTINUATION, SPECIAL_TOKENS

VOCABULARY = "vocab.txt"
TOKENIZER = "tokenizer.json"
CONFIG = "tokenizer_config.json"


def bert_pipeline(vocabulary: Sequence[str], lowercase: bool) -> Tokenizer:
    """BERT's tokenizer for a list of pieces, the position of each being its id."""
    ids = {piece: position for position, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer(WordPiece(ids, unk_token="[UNK]", continuing_subword_prefix=CONTINUATION))
    tokenizer.normalizer = BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.decoder = WordPieceDecoder(prefix=CONTINUATION)
    tokenizer.add_special_tokens([token for token in SPECIAL_TOKENS if token in ids])
    if "[SEP]" in ids and "[CLS]" in ids:
        tokenizer.post_processor = BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    return tokenizer


def read_tokenizer(folder: Path) -> tuple[Tokenizer, Path]:
    """The tokenizer in a folder and the file that it came from: tokenizer.json, or else vocab.txt.

    Raises InputError if there is neither, or what is there is damaged.
    """
    file = folder / TOKENIZER
    if file.is_file():
        return _read_json_tokenizer(file), file
    file = folder / VOCABULARY
    if file.is_file():
        return bert_pipeline(_read_vocabulary(file), _lowercase(folder / CONFIG)), file
    raise InputError(
        f"{folder}: there is neither {TOKENIZER} nor {VOCABULARY} here: name the folder that "
        "Tokenizer.save wrote, or that of a Hugging Face BERT."
    )


def write_tokenizer(folder: Path, tokenizer: Tokenizer, pieces: Sequence[str], max_length: int) -> None:
    """Write the three files, such that `transformers.AutoTokenizer.from_pretrained(folder)` reads them."""
    normalizer = json.loads(tokenizer.to_str())["normalizer"] or {}
    config = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": normalizer.get("lowercase", False),
        "strip_accents": normalizer.get("strip_accents"),
        "tokenize_chinese_chars": normalizer.get("handle_chinese_chars", True),
        "model_max_length": max_length,
        **{f"{token[1:-1].lower()}_token": token for token in SPECIAL_TOKENS},
    }
    write_atomically(folder / VOCABULARY, "".join(f"{piece}\n" for piece in pieces).encode())
    write_atomically(folder / TOKENIZER, tokenizer.to_str(pretty=True).encode())
    write_atomically(folder / CONFIG, (json.dumps(config, indent=2) + "\n").encode())


def _read_json_tokenizer(file: Path) -> Tokenizer:
    text = _read(file)
    model = _json_object(file, text).get("model")
    kind = model.get("type") if isinstance(model, dict) else None
    if kind != "WordPiece":
        raise InputError(f"{file}: the tokenizer is of type {kind}, but BERT's is WordPiece: take another.")
    try:
        return Tokenizer.from_str(text)
    except Exception as error:   # the library raises nothing more special
        raise InputError(f"{file}: the file is damaged ({error}): fetch or save it anew.") from None


def _read_vocabulary(file: Path) -> list[str]:
    pieces = _read(file).removesuffix("\n").split("\n")
    lines: dict[str, int] = {}
    for number, piece in enumerate(pieces, start=1):
        if not piece or piece in lines:
            what = f"repeats line {lines[piece]}" if piece else "is empty"
            raise InputError(
                f"{file}:{number}: the line {what}, but each line must be another piece: fetch the file anew."
            )
        lines[piece] = number
    return pieces


def _lowercase(file: Path) -> bool:
    """`do_lower_case` of tokenizer_config.json; without the file true, as in Google's code."""
    return bool(_json_object(file, _read(file)).get("do_lower_case", True)) if file.is_file() else True


def _json_object(file: Path, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{file}:{error.lineno}: the file is damaged, this is not JSON: fetch or save it anew."
        ) from None
    if not isinstance(content, dict):
        raise InputError(f"{file}: the file is damaged, it holds no JSON object: fetch or save it anew.")
    return content


def _read(file: Path) -> str:
    try:
        with open(file, encoding="utf-8", newline="") as stream:
            return stream.read().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file}: the file is damaged, byte {error.start} is not UTF-8: fetch or save it anew."
        ) from None
    except OSError as error:
        raise InputError(
            f"{file}: the file cannot be read ({error.strerror}): check its permissions."
        ) from None
