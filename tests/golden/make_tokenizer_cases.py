#!/usr/bin/env python3
"""Writes tokenizers/*.json: small tokenizers in the shapes that checkpoints have, and what Hugging Face makes of awkward texts.

    make_tokenizer_cases.py [--texts N] [--seed S] FOLDER

Per tokenizer NAME: NAME.tokenizer.json as the `tokenizers` library saves it, and NAME.cases.json, a list of
{"text", "special", "ids"}; special says whether special tokens written out in the text count. NAME.vocabulary.json instead: tokens,
scores and types as a GGUF file of model "llama" has them, the ids from Google's SentencePiece. Every vocabulary is trained here, on
the texts below. tests/unit/test_tokenizer_golden.c reads them.
"""

import argparse
import json
import os
import random
import tempfile

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

WORDS = (
    "the of and to in that it was for on are as with they be at one have this from or had by word but what some we can out other were "
    "all there when up use your how said an each she which do their time if will way about many then them write would like so these "
    "her long make thing see him two has look more day could go come did number sound no most people my over know water than call first "
    "who may down side been now find any new work part take get place made live where after back little only round man year came show "
    "every good me give our under name very through just form sentence great think say help low line differ turn cause much mean before "
    "don't we'll I'm they've you're he'd it's 1 2 3 10 42 100 1999 2024 3.14 ... --- == () {} [] <b> </b> f(x) a_b __init__ É é ü ß ñ "
    "Führer straße naïve café 東京 北京 你好 世界 こんにちは カタカナ Привет мир שלום नमस्ते 안녕 🙂 👍🏽"
).split()
AWKWARD = [
    "", " ", "  ", "   ", "\n", "\n\n", "\n\n\n", "\t", " \t\n", "\r\n", "a", " a", "a ", "Hello world", " Hello  world ", "Hello   world\n\n  foo",
    "don't DON'T don’t 'tis 'LL 'Ve it'S'd", "1 12 123 1234 12345 ½ Ⅷ ٣٤ 1a2b 3.14159", "x=1;y=[2,3];z={'a':4}//c\n\treturn  x+y\n",
    "e\u0301 \u00e9 A\u030a \u212b \ufb01 \u1e9b\u0323 \u0344 \u1f82 \uac00\u11a8 \u0915\u093c", "mixed 東京 and カタカナ,  こんにちは。「はい」", "🙂👍🏽👨‍👩‍👧 \U0001f1e9\U0001f1ea",
    "a\u00a0b\u2003c\u3000d\u180ee\u0085f\u200bg\u2028h\ufeffi", "tab\t\tdouble\t \tmix", "trailing spaces    ", "    four\n        eight\n", "ſ K ß İ ı ŉ", "a\x00b\x01c\x7f",
    "!!! ??? ... --- $+<=>^`|~ #@%&*", "नमस्ते दुनिया ก็ ไม่ ",
    "<s>hi</s>", "<s> <s>x </s> y", "  <s>  </s>  ", "<unk>", "the<mask>cat", "the  <mask>  cat", "[tool][tool]", "x\n\n\n\n\n\ny", "▁the▁ ▁", "<0x41><0x0A>", " ▁ ", "Ġthe Ġ",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "-" * 150 + " " * 150 + "x" + "\n" * 40 + "thethethe" * 20,
]
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def plain_bytes(**options):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False, **options)


def special(text, **options):
    return AddedToken(text, special=True, normalized=False, **options)


def ours(text, **options):
    return AddedToken(text, special=False, **{"normalized": False, **options})


BYTES = [f"<0x{b:02X}>" for b in range(256)]
BOS = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)])
METASPACE = pre_tokenizers.Metaspace
LLAMA2 = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
GEMMA_ADDED = [special("<s>"), special("</s>"), ours("\n"), ours("\n\n"), ours("\n\n\n"), ours("▁▁"), ours("[tool]"), ours("</b>")]

# name: (model options, normalizer, pre-tokenizer, post-processor, added tokens, pieces the vocabulary must hold)
SHAPES = {
    "gpt2": ({}, None, pre_tokenizers.ByteLevel(add_prefix_space=False), None, [special("<s>")], []),
    "gpt2_prefix_space": ({}, None, pre_tokenizers.ByteLevel(add_prefix_space=True), None, [special("<mask>", lstrip=True)], []),
    "neox": ({}, normalizers.NFC(), pre_tokenizers.ByteLevel(add_prefix_space=False), processors.ByteLevel(),
             [special("<s>"), ours("    ", normalized=True), ours("  ", normalized=True), ours("é", normalized=True)], []),
    "llama3": ({"ignore_merges": True}, None, pre_tokenizers.Sequence([split(LLAMA3), plain_bytes()]),
               processors.Sequence([processors.ByteLevel(), BOS]), [special("<s>"), special("</s>")], []),
    "cl100k": ({}, None, pre_tokenizers.Sequence([split(LLAMA3, "removed", True), plain_bytes()]), None, [special("<s>")], []),
    "qwen": ({}, normalizers.NFC(), pre_tokenizers.Sequence([split(QWEN2), plain_bytes()]), None, [special("<s>"), ours("[tool]")], []),
    "o200k": ({}, None, pre_tokenizers.Sequence([split(O200K), plain_bytes()]), None, [special("<s>")], []),
    "smollm": ({}, None, pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]), None, [special("<s>")], []),
    "falcon": ({}, None, pre_tokenizers.Sequence([pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False),
               pre_tokenizers.Digits(False), split("[0-9][0-9][0-9]")]), None, [special("<s>")], []),
    "deepseek": ({}, normalizers.Sequence([]), pre_tokenizers.Sequence([split(r"[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"),
                 split("[一-龥ࠀ-一가-\ud7ff]+"), pre_tokenizers.Digits(True), plain_bytes()]), None, [special("<s>")], []),
    "deepseek3": ({}, None, pre_tokenizers.Sequence([split(r"\p{N}{1,3}"), split("[一-龥\u3040-ゟ゠-ヿ]+"), split(DEEPSEEK3), plain_bytes()]), None, [special("<s>")], []),
    "han_words": ({}, None, pre_tokenizers.Sequence([split(r"\p{Han}+"), split(r"\w+|[^\w\s]+|\W\d"), plain_bytes()]), None, [], []),
    "gemma": ({"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}, normalizers.Replace(" ", "▁"),
              pre_tokenizers.Split(" ", "merged_with_previous"), BOS, GEMMA_ADDED, BYTES),
    "llama2": ({"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}, LLAMA2, None, BOS,
               [AddedToken("<s>", special=True, normalized=True), AddedToken("</s>", special=True, normalized=True)], BYTES),
    "mistral": ({"unk_token": "<unk>", "byte_fallback": True}, None, METASPACE(prepend_scheme="first", split=False), BOS,
                [special("<s>"), special("</s>", rstrip=True), ours("<b>", lstrip=True, rstrip=True)], BYTES),
    "metaspace": ({"unk_token": "<unk>", "fuse_unk": True}, None, METASPACE(prepend_scheme="always", split=True), None, [special("<s>")], []),
    "metaspace_never": ({"unk_token": "<unk>"}, None, METASPACE(prepend_scheme="never", split=True), None, [special("<s>")], []),
    "no_unknown": ({}, None, pre_tokenizers.WhitespaceSplit(), None, [special("<s>")], []),
    "next": ({"unk_token": "<unk>", "fuse_unk": True}, None, pre_tokenizers.Sequence([pre_tokenizers.Split("t", "merged_with_next"), split(r"\s", "merged_with_previous")]), None, [], []),
    "contiguous": ({"unk_token": "<unk>"}, normalizers.Replace("th", "ht"), pre_tokenizers.Sequence([split("[aeiou]", "contiguous"), split("[b-d]$", "contiguous", True), pre_tokenizers.Split("e", "removed")]), None, [], []),
}


def sentences(rng):
    return [" ".join(rng.choice(WORDS) for _ in range(rng.randrange(3, 9))) for _ in range(700)]


def train(shape, rng):
    options, normalizer, pre, post, added, pieces = shape
    tokenizer = Tokenizer(models.BPE(**options))
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre:
        tokenizer.pre_tokenizer = pre
    first = [t.content for t in added if t.special] + ([options["unk_token"]] if "unk_token" in options else [])
    alphabet = [] if pieces else pre_tokenizers.ByteLevel.alphabet() if "ByteLevel" in str(pre) else []
    limit = 60 if "metaspace" in str(pre).lower() and not pieces else 1000
    trainer = trainers.BpeTrainer(vocab_size=480 + len(pieces), special_tokens=first + pieces, initial_alphabet=alphabet, limit_alphabet=limit, show_progress=False)
    tokenizer.train_from_iterator(sentences(rng), trainer)
    made = json.loads(tokenizer.to_str())
    made["added_tokens"] = []
    tokenizer = Tokenizer.from_str(json.dumps(made))
    tokenizer.add_tokens([t for t in added if not t.special])
    tokenizer.add_special_tokens([t for t in added if t.special])
    if post:
        tokenizer.post_processor = post
    return tokenizer


def texts(rng, count):
    glue = [" ", " ", " ", "  ", "\n", "\n\n", "", "\t", " \n", "<s>", "</s>", "[tool]", "<b>", "▁", "'", "\u0301", "\u3000", "\u180e", "0", "   "]
    made = ["".join(rng.choice(WORDS) + rng.choice(glue) for _ in range(rng.randrange(1, 25))) for _ in range(count // 2)]
    alphabet = "".join(sorted({c for w in WORDS for c in w})) + " \n\t\r\u0301\u0327\u00a0\u0085½Ⅷ" + "     \n\n"
    made += ["".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 60))) for _ in range(count - count // 2)]
    return made


def train_sentencepiece(folder, rng, dummy_prefix):
    text = os.path.join(folder, "text")
    with open(text, "w", encoding="utf-8") as f:
        f.write("\n".join(sentences(rng)))
    sentencepiece.SentencePieceTrainer.train(
        input=text, model_prefix=os.path.join(folder, "m"), model_type="bpe", vocab_size=700, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=dummy_prefix, split_digits=True,
        allow_whitespace_only_pieces=True, user_defined_symbols=["\n", "\n\n", "[tool]", "</b>"], minloglevel=2)
    model = sentencepiece_model_pb2.ModelProto()
    with open(os.path.join(folder, "m.model"), "rb") as f:
        model.ParseFromString(f.read())
    return model


def write_sentencepiece(name, options, dummy_prefix):
    rng = random.Random(f"{name} {options.seed}")
    with tempfile.TemporaryDirectory() as folder:
        model = train_sentencepiece(folder, rng, dummy_prefix)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
    cases = [{"text": t, "special": False, "ids": processor.encode(t)} for t in AWKWARD + texts(rng, options.texts)]
    write(options.folder, name + ".vocabulary.json", {
        "add_space_prefix": dummy_prefix, "tokens": [p.piece for p in model.pieces],
        "scores": [p.score for p in model.pieces], "types": [p.type for p in model.pieces]})
    write_cases(options.folder, name, cases)
    print(f"{name}: {len(model.pieces)} tokens, {len(cases)} cases")


def write(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f)
        f.write("\n")


def write_cases(folder, name, cases):
    with open(os.path.join(folder, name + ".cases.json"), "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("folder")
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    for name, shape in SHAPES.items():
        rng = random.Random(f"{name} {options.seed}")
        tokenizer = train(shape, rng)
        cases = []
        for text in AWKWARD + texts(rng, options.texts):
            for counts in (False, True):
                tokenizer.encode_special_tokens = not counts
                ids = tokenizer.encode(text, add_special_tokens=False).ids
                if not counts or ids != cases[-1]["ids"]:
                    cases.append({"text": text, "special": counts, "ids": ids})
        tokenizer.save(os.path.join(options.folder, name + ".tokenizer.json"), pretty=False)
        write_cases(options.folder, name, cases)
        print(f"{name}: {tokenizer.get_vocab_size()} tokens, {len(cases)} cases")
    write_sentencepiece("sentencepiece", options, True)
    write_sentencepiece("sentencepiece_no_prefix", options, False)


if __name__ == "__main__":
    main()
