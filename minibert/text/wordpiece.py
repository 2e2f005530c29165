"""Train a WordPiece vocabulary that is the same in every process.

The trainer of the `tokenizers` library numbers the `##` characters in the order of a hash table with a
random seed, and breaks ties between equally frequent merges by those numbers: two runs on the same text
give different ids, and sometimes different pieces.  Here the alphabet is counted and ordered first, and
given to the trainer with its numbers; what is left to it has one answer.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import WordPieceTrainer

from minibert.errors import InputError

CONTINUATION = "##"
"""How a piece begins that continues a word."""

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""In the order of their ids, 0 to 4."""

_MIN_FREQUENCY = 2
"""What occurs once teaches nothing: such characters become [UNK], such merges are not made."""

_ALPHABET_SHARE = 0.75
"""Single characters may fill this share of the vocabulary; Chinese text would fill it all."""


def train_vocabulary(sentences: Sequence[str], vocab_size: int, lowercase: bool) -> list[str]:
    """At most `vocab_size` pieces, the special tokens first; the position of a piece is its id.

    Raises InputError if there is too little text or `vocab_size` leaves no room beside the special tokens.
    """
    if vocab_size <= len(SPECIAL_TOKENS):
        raise InputError(
            f"The vocabulary size is {vocab_size}, but {len(SPECIAL_TOKENS)} places go to special tokens: "
            "take 1000 or more for real text."
        )
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    room = int((vocab_size - len(SPECIAL_TOKENS)) * _ALPHABET_SHARE)
    characters, continuations = _alphabet(_count_words(tokenizer, sentences), room)
    if not characters:
        raise InputError(
            f"No vocabulary can be trained with {len(sentences)} sentences and {vocab_size} places: "
            "give more text, or a larger vocabulary size."
        )
    fixed = [*SPECIAL_TOKENS, *characters, *continuations]
    trainer = WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=_MIN_FREQUENCY,
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        special_tokens=fixed,   # the trainer numbers these first, in this order
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer, length=len(sentences))
    ids = tokenizer.get_vocab()
    return sorted(ids, key=ids.__getitem__)


def _count_words(tokenizer: Tokenizer, sentences: Iterable[str]) -> Counter[str]:
    words: Counter[str] = Counter()
    for sentence in sentences:
        normal = tokenizer.normalizer.normalize_str(sentence)
        words.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal))
    return words


def _alphabet(words: Counter[str], room: int) -> tuple[list[str], list[str]]:
    """The most frequent characters, and those of them that continue words as `##c`: `room` in all."""
    anywhere: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            anywhere[character] += count
        for character in word[1:]:
            inside[character] += count
    characters: list[str] = []
    continuations: list[str] = []
    for character, count in sorted(anywhere.items(), key=_most_frequent_first):
        cost = 1 + (character in inside)
        if count < _MIN_FREQUENCY or len(characters) + len(continuations) + cost > room:
            break
        characters.append(character)
        if character in inside:
            continuations.append(CONTINUATION + character)
    return sorted(characters), sorted(continuations)


def _most_frequent_first(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]
