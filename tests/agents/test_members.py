"""Functions of one member, applied to all."""

import pytest
import torch

from agents.members import each_member, member_of, stack


def shift(tree, pair):
    (first, second), table = pair, tree["nested"]["table"]
    return {"sum": table.sum() + first, "rows": (table * second, second)}


@pytest.mark.parametrize("members", [1, 3])
def test_every_member_gets_its_own_part_of_every_tensor(members):
    table = torch.arange(members * 6.0).view(members, 2, 3)
    first, second = torch.arange(float(members)), torch.arange(members * 3.0).view(members, 3)
    result = each_member(shift, members)({"nested": {"table": table}}, (first, second))
    for m in range(members):
        alone = shift({"nested": {"table": table[m]}}, (first[m], second[m]))
        assert torch.equal(result["sum"][m], alone["sum"])
        assert torch.equal(result["rows"][0][m], alone["rows"][0])
        assert torch.equal(result["rows"][1][m], alone["rows"][1])


def test_stacked_members_have_a_leading_axis():
    trees = [{"a": torch.tensor([1.0, 2.0]), "b": torch.tensor(m)} for m in range(3)]
    stacked = stack(trees)
    assert stacked["a"].shape == (3, 2)
    assert stacked["b"].tolist() == [0, 1, 2]


def test_a_stacked_member_is_found_again():
    trees = [{"a": torch.tensor([1.0, m]), "b": torch.tensor(m)} for m in range(3)]
    for member, tree in enumerate(trees):
        found = member_of(stack(trees), member)
        assert found.keys() == tree.keys()
        assert all(torch.equal(found[name], tree[name]) for name in tree)
