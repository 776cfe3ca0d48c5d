"""Shell completion of the program `dbtools`: the scripts, and the candidates that they ask for.

Invoke has scripts of its own, for a tasks.py: invoke --print-completion-script. They cannot tell a word that is being
typed from one that is done, and so offer tasks where a file or a number is due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from invoke.parser.argument import Argument
    from invoke.parser.context import ParserContext

Candidate = tuple[str, str]
"""A word that may stand here, and one line about it."""

_BASH = """\
_dbtools() {
    local name about
    COMPREPLY=()
    while IFS=$'\\t' read -r name about; do
        COMPREPLY+=("$name")
    done < <("${COMP_WORDS[0]/#\\~/$HOME}" --complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _dbtools dbtools
"""
_ZSH = """\
_dbtools() {
    local -a found
    found=("${(@f)$("${~words[1]}" --complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n $found ]]; then
        found=("${(@)found//:/\\\\:}")
        found=("${(@)found/$'\\t'/:}")
        _describe dbtools found
    else
        _files
    fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _dbtools dbtools
"""
_FISH = """\
function __dbtools_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    set -l found ($program --complete -- $words[2..-1] "$current" 2>/dev/null)
    if set -q found[1]
        printf '%s\\n' $found
    else
        __fish_complete_path "$current"
    end
end
complete --command dbtools --no-files --arguments '(__dbtools_complete)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def candidates(
    words: Sequence[str],
    options: Sequence[Candidate],
    values: Mapping[str, Sequence[Candidate]],
    tasks: Mapping[str, ParserContext],
    abouts: Mapping[str, str],
) -> Iterator[Candidate]:
    """Yield what may stand in the place of the last of `words`, which is being typed; "" where nothing is yet.

    `words` are those after the program's name. `options` are the program's own, and `values` the words that may follow
    some of them. `tasks` are all, by every name that they have, and `abouts` the line about each. Nothing is yielded
    where a value is due that only the user knows: a shell then offers files.
    """
    *before, current = words
    task: ParserContext | None = None
    due: Sequence[Candidate] | None = None
    positional = 0
    for word in before:
        if word == "--":  # the rest is for another program
            return
        if word == "=" or (due is not None and not word.startswith("-")):  # bash makes three words of --option=value
            due = due if word == "=" else None
        elif word.startswith("-"):
            argument: Argument | None = task.flags.get(word) if task else None
            due = () if argument is not None and argument.takes_value else values.get(word)
        elif positional:
            positional -= 1
        elif word in tasks:
            task, due = tasks[word], None
            positional = sum(argument.kind is not list for argument in task.positional_args)
    if current == "=":
        current = ""
    found: Sequence[Candidate]
    if due is not None and not (due and current.startswith("-")):  # a task after --help may be left out
        found = due
    elif current.startswith("-"):
        found = options
        if task:
            own = [(flag, task.flags[flag].help or "") for flag in task.flag_names()]
            found = [*own, ("--help", "Explain the task.")]
    else:
        found = () if positional else [(name, abouts[name]) for name in tasks]
    yield from (each for each in found if each[0].startswith(current))
