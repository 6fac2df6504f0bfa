"""Trains the tokenizer: SentencePiece unigram over captions of the world and a few hundred common English words.

    python tools/tinyworld/make_tokenizer.py build/tinyworld models/tinyworld/tokenizer/spiece.model
"""

import io
import os
import sys

import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as pb

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import world

VOCAB = 640


def promote(proto, words, score):
    """Makes whole words pieces: training on so few words prefers to share syllables between them."""
    known = {p.piece: p for p in proto.pieces}
    for word in sorted(set(words)):
        piece = known.get("\u2581" + word)
        if piece is None:
            piece = proto.pieces.add()
            piece.piece = "\u2581" + word
            piece.score = score
        piece.score = max(piece.score, score)


def main():
    build_dir, out = sys.argv[1:3]
    w = world.World(world.build(build_dir))
    lines = [w.caption(w.scene(1, i, i % 8 == 0), i * 2654435761) for i in range(30000)]
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "words.txt")) as f:
        words = f.read().split()
    own = sorted({x for s in lines for x in s.replace(",", "").split()})
    train = lines + words * 20
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(train), model_writer=model, model_type="unigram", vocab_size=VOCAB,
        normalization_rule_name="nmt_nfkc", byte_fallback=True, character_coverage=1.0, pad_id=0, eos_id=1, bos_id=2,
        unk_id=3, hard_vocab_limit=False, num_threads=1, minloglevel=2)
    proto = pb.ModelProto.FromString(model.getvalue())
    promote(proto, own, -6.0)
    promote(proto, words, -8.0)
    proto.trainer_spec.vocab_size = len(proto.pieces)
    with open(out, "wb") as f:
        f.write(proto.SerializeToString())
    sp = spm.SentencePieceProcessor(model_proto=proto.SerializeToString())
    longest = max(len(sp.encode(s)) + 1 for s in lines)
    print(f"{sp.vocab_size()} pieces, {proto.ByteSize()} bytes, longest caption {longest} ids")
    print(sp.encode("a red ball rolling to the right over green hills", out_type=str), sp.encode("a dragon, Zürich"))


main()
