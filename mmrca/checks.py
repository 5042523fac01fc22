"""Checks of what a config gives a constructor, by its type annotations."""

import difflib
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]

_NAMED = 3  # things an error names
_Class = TypeVar('_Class')
# Strict: 'yes' is not taken for a bool, nor '3' for an int.
_RULES = ConfigDict(arbitrary_types_allowed=True, strict=True)


def first_few(words: Sequence[str]) -> str:
    """Name three of many things, and say how many more there are."""
    more = f' and {len(words) - _NAMED} more' if len(words) > _NAMED else ''
    return ', '.join(words[:_NAMED]) + more


def checked(cls: type[_Class]) -> type[_Class]:
    """Let a class check the arguments of its constructor.

    Args:
        cls: Changed in place. Its ``__init__`` is called as before once every
            value fits its annotation.

    Returns:
        ``cls``.
    """
    init = cls.__init__

    @functools.wraps(init)
    def check_and_init(self: Any, *args: Any, **kwargs: Any) -> None:
        check_arguments(cls.__name__, init, self, *args, **kwargs)
        init(self, *args, **kwargs)

    cls.__init__ = check_and_init  # type: ignore[method-assign]
    return cls


def check_arguments(
    owner: str,
    function: Callable,
    *args: Any,
    **kwargs: Any,
) -> None:
    """Compare arguments with a function's annotations.

    Missing and unknown arguments are left to Python.

    Args:
        owner: What the arguments are given to, for the error.
        function: Its annotations count.
        args: As the function would get them.
        kwargs: As the function would get them.

    Raises:
        ValueError: Naming the first argument that does not fit, and its
            value.
    """
    try:
        given = inspect.signature(function).bind_partial(*args, **kwargs)
    except TypeError:
        return
    for name, value in given.arguments.items():
        adapter = _adapters(function).get(name)
        if adapter:
            _validate(f'{owner}.{name}', value, adapter)


def check_value(name: str, value: Any, rule: Any) -> None:
    """Compare a value with an annotation.

    Args:
        name: Of the value, for the error.
        value: From a config.
        rule: The annotation.

    Raises:
        ValueError: It does not fit.
    """
    _validate(name, value, TypeAdapter(rule, config=_RULES))


def _validate(name: str, value: Any, adapter: TypeAdapter) -> None:
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        reasons = dict.fromkeys(e['msg'] for e in error.errors())
        raise ValueError(
            f'{name} is {value!r}. {" or ".join(reasons)}.'
        ) from error


def unknown_option(kind: str, name: str, function: Callable) -> str:
    """Say that a part has no such option, and which one may be meant.

    Args:
        kind: The part's.
        name: The option's.
        function: What takes the options: the part's class or a function.
    """
    owners = getattr(function, '__mro__', [function])
    known = {n for o in owners for n in _parameters(o)}
    near = difflib.get_close_matches(name, known, n=1)
    hint = f'did you mean {near[0]!r}?' if near else _listed(sorted(known))
    return f'{kind} has no option {name!r}; {hint}'


def _listed(names: Sequence[str]) -> str:
    return f'it has {", ".join(names)}' if names else 'it has none'


def _parameters(owner: Any) -> list[str]:
    """List what a function, or a class's own constructor, can be given."""
    function = (
        vars(owner).get('__init__') if isinstance(owner, type) else owner
    )
    if not inspect.isfunction(function):
        return []
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    names = [p.name for p in parameters if p.kind not in kinds]
    return [name for name in names if name != 'self']


@functools.cache
def _adapters(function: Callable) -> dict[str, TypeAdapter]:
    hints = get_type_hints(function, include_extras=True)
    hints.pop('return', None)
    return {
        name: TypeAdapter(hint, config=_RULES) for name, hint in hints.items()
    }
