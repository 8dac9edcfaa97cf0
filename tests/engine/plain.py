"""The official ways, one row at a time with the library's own calls: what the fast ones must equal.

As `evaluate_generations.py` (December 2024) and Open Instruct's `eval/mmlu/run_eval.py` do it.
"""

import torch


def script_text(model, tokenizer, question, max_new_tokens=256):
    """Return a row's output as the organisers' script generates it."""
    ids = tokenizer(question, return_tensors="pt").input_ids.to(model.device)
    with torch.no_grad():
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            use_cache=True,
            pad_token_id=tokenizer.eos_token_id,
        )
    return tokenizer.decode(out[0, len(ids[0]) :], skip_special_tokens=True)


def script_row(model, tokenizer, question, answer):
    """Return a row's output and loss as the organisers' script computes them."""
    ids = tokenizer(question, return_tensors="pt").input_ids.to(model.device)
    combined = tokenizer(question + answer, return_tensors="pt").input_ids.to(model.device)
    targets = combined.clone()
    targets[:, : len(ids[0])] = -100
    with torch.no_grad():
        loss = model(combined, labels=targets).loss.item()
    return script_text(model, tokenizer, question), loss


def script_document(model, tokenizer, document):
    """Return a document's loss as the organisers' script computes it."""
    ids = tokenizer(document, return_tensors="pt").input_ids.to(model.device)
    with torch.no_grad():
        return model(ids, labels=ids.clone()).loss.item()


def _example(question, answered=True):
    prompt = question.text
    for letter, choice in zip("ABCD", question.choices, strict=True):
        prompt += f"\n{letter}. {choice}"
    prompt += "\nAnswer:"
    return prompt + f" {'ABCD'[question.answer]}\n\n" if answered else prompt


def _shots(subject, shots):
    name = "".join(" " + entry for entry in subject.split("_"))
    prompt = f"The following are multiple choice questions (with answers) about {name}.\n\n"
    return prompt + "".join(_example(shot) for shot in shots)


def mmlu_prompt(tokenizer, question, shots, most):
    """Return the prompt, shots dropped until it has at most `most` tokens."""
    end, count = _example(question, answered=False), len(shots)
    prompt = _shots(question.subject, shots) + end
    while count and len(tokenizer.encode(prompt)) > most:
        count -= 1
        prompt = _shots(question.subject, shots[:count]) + end
    return prompt  # Too long without any, the script would never end: `mmlu_row` keeps the last.


def mmlu_row(model, tokenizer, question, shots, most=2048):
    """Return the probabilities of the four letters."""
    prompt = mmlu_prompt(tokenizer, question, shots, most)
    ids = tokenizer(prompt, return_tensors="pt").input_ids[:, -most:].to(model.device)
    letters = [tokenizer.encode(f" {x}", add_special_tokens=False)[-1] for x in "ABCD"]
    with torch.no_grad():
        logits = model(ids, attention_mask=torch.ones_like(ids)).logits[:, -1, :]
    return torch.softmax(logits, dim=-1)[0, letters].tolist()
