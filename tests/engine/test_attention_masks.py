"""The finished mask says what the library's own would say."""

import torch

from unlearnlab.engine.generation import attention_mask


def test_predictions_are_those_under_the_librarys_own_mask(lm):
    ids_BT = torch.tensor([[1, 1, 7, 8, 9], [5, 6, 7, 8, 9]])
    mask_BS = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    with torch.no_grad():
        theirs, ours = (
            lm.model(input_ids=ids_BT, attention_mask=mask).logits
            for mask in (mask_BS, attention_mask(lm, mask_BS, 5))
        )
    assert torch.allclose(theirs[:, 2:], ours[:, 2:], atol=1e-6)
    assert ours.isfinite().all(), "padding must not spoil what is kept of it"


def test_the_last_tokens_of_a_pass_see_all_before_them_but_none_after(lm):
    mask_BS = torch.tensor([[0, 1, 1, 1]])
    looked = attention_mask(lm, mask_BS, 2)[0, 0] == 0
    assert looked.tolist() == [[False, True, True, False], [False, True, True, True]]


def test_a_model_with_a_window_gets_the_librarys_masks(lm):
    mask_BS = torch.ones(1, 3, dtype=torch.long)
    lm.model.config.sliding_window = 2
    assert attention_mask(lm, mask_BS, 3) is mask_BS
