"""Make a tiny random Llama and a small tokenizer, for vLLM to serve; nothing is downloaded.

Runs in vLLM's own environment: ``python make_model.py FOLDER``. Its words are noise, but the same
noise every time (greedy), and its bytes are whole characters only now and then: what a
continuation has to get right.
"""

import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CHAT_TEMPLATE = (
    "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}"
    "{% if not (loop.last and continue_final_message) %}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)
TEXT = [
    "the quick brown fox jumps over the lazy dog and then the day is done",
    "user assistant system tell me a story of a long job that never gets lost",
    "Grüße aus Zürich, señor: naïve café, 你好世界, 🙂🦄 and é",
]


def main(folder: Path) -> None:
    """Write model and tokenizer into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(TEXT * 5, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", model_max_length=4096
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        initializer_range=0.6,
        bos_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    sys.stdout.write(json.dumps({"vocabulary": len(fast)}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
