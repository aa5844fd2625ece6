"""State variables as their checkpoints have them."""

from middleboxes.core.columns import pack_column, unpack_column


def delta_of(variable):
    """The columns (removed, keys, values) of a cut."""
    removed, changed = variable.cut()
    return pack_column(list(removed)), pack_column(list(changed)), pack_column(list(changed.values()))


def items_of(pieces):
    """[(key, value)] of the columns that ``Variable.everything`` gives."""
    return [item for keys, values in pieces for item in zip(unpack_column(keys), unpack_column(values))]


def state_of(variables):
    """{name: [(key, value) in order]} of all that *variables* {name: variable} have."""
    return {name: items_of(variable.everything(7)) for name, variable in variables.items()}
