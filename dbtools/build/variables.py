"""Which variables of the environment decide the content of a database, and so count as inputs of its build."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from dbtools.build.folders import MAGIC

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

VOLATILE = """
# They name the database, which a build replaces by its own, or say how to reach it.
# PGTZ, PGOPTIONS, PGDATESTYLE and PGCLIENTENCODING count: they change how values are read.
DATABASE_URL PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGPASSFILE PGAPPNAME PGSERVICE PGSERVICEFILE
PGSYSCONFDIR PGSSL* PGGSS* PGKRB* PGREQUIRE* PGCHANNELBINDING PGCONNECT_TIMEOUT PGTARGETSESSIONATTRS PGLOADBALANCEHOSTS
PGDATA

# Ours, and the permission that only a reset asks for.
DBTOOLS_* ALLOW_RESET

# The shell's own state: another one after each command, or in each window.
_ PWD OLDPWD SHLVL PS1 PS2 PS4 PROMPT PROMPT_COMMAND PROMPT_DIRTRIM RPROMPT BASH* ZSH* ZDOTDIR fish_* STARSHIP_* MAIL
MAILCHECK HISTFILE* HISTSIZE HISTCONTROL HISTIGNORE HISTTIMEFORMAT SHELL_SESSION_*

# The terminal and the editor: how output looks.
TERM TERMCAP TERMINFO* TERM_PROGRAM* TERM_SESSION_ID TERM_FEATURES TERMINAL_EMULATOR COLORTERM COLORFGBG COLUMNS LINES
WINDOWID LS_COLORS LSCOLORS EZA_COLORS GREP_COLOR* CLICOLOR* NO_COLOR FORCE_COLOR PY_COLORS PAGER MANPAGER GIT_PAGER
LESS* EDITOR VISUAL GIT_EDITOR TMUX* STY ZELLIJ* VTE_* ITERM_* KITTY_* WEZTERM_* ALACRITTY_* GHOSTTY_* KONSOLE_*
WT_SESSION WT_PROFILE_ID VSCODE_* JETBRAINS_* PYCHARM_* ELECTRON_* CHROME_DESKTOP INSIDE_EMACS NVIM* VIM VIMRUNTIME
VIMINIT

# The desktop and the login: another one in each session.
DISPLAY WAYLAND* XDG_* XAUTHORITY XMODIFIERS DBUS_* DESKTOP_SESSION DESKTOP_STARTUP_ID GDM* GNOME_* KDE_* GTK_* QT_*
SESSION_MANAGER WINDOWPATH SECURITYSESSIONID __CF* XPC_* LaunchInstanceID WSL* SSH_* GPG_* SUDO_* INVOCATION_ID
JOURNAL_STREAM MANAGERPID SYSTEMD_* LISTEN_FDS LISTEN_PID LISTEN_FDNAMES NOTIFY_SOCKET

# Where programs and temporary files are. What packages a program has is an input of its own.
PATH MANPATH INFOPATH TMPDIR TMP VIRTUAL_ENV* CONDA_* PYENV_* NVM_* HOMEBREW_* DIRENV_* MISE_* __MISE_* ASDF_*
POETRY_ACTIVE PIPENV_ACTIVE UV UV_* PIP_* INIT_CWD

# How the interpreter runs and warns. PYTHONHASHSEED and PYTHONPATH count: orders and modules depend on them.
PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX PYTHONFAULTHANDLER PYTHONDEVMODE PYTHONWARNINGS
PYTHONTRACEMALLOC PYTHONASYNCIODEBUG PYTHONBREAKPOINT PYTHONSAFEPATH

# Programs that run us, with the names and numbers of that run.
INVOKE_* NOX_* TOX_* PYTEST_* COVERAGE_PROCESS_* COVERAGE_RUN COV_CORE_* HYPOTHESIS_* PRE_COMMIT* npm_* MAKEFLAGS
MAKELEVEL MAKEFILES MAKEOVERRIDES MAKE_TERM* MFLAGS
GIT_DIR GIT_COMMON_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_PREFIX GIT_EXEC_PATH GIT_REFLOG_ACTION GIT_INTERNAL_*

# A run of a CI service: numbers, tokens, folders. CI itself counts: programs behave in another way where it is set.
CI_* GITHUB_* RUNNER_* ACTIONS_* ImageOS ImageVersion GITLAB_* BUILDKITE* CIRCLE_* TRAVIS_* DRONE_* BITBUCKET_*
CODEBUILD_* TEAMCITY_* TF_BUILD JENKINS_* HUDSON_* BUILD_ID BUILD_NUMBER BUILD_TAG BUILD_URL JOB_NAME JOB_URL
"""
"""Variables that never decide content, though programs read them. TZ, LANG, LC_* and NODE_ENV are none of them.

A name too many here lets a stale snapshot through; one too few costs a build. So groups are written out where their
beginning is a word that an application may use.
"""
PERSONAL = frozenset({"HOME", "USER", "LOGNAME", "USERNAME", "SHELL", "HOSTNAME", "HOSTTYPE", "OSTYPE", "MACHTYPE"})
"""Who runs it, and where: they count where a program is known to have read them, and not only because they are set."""

_words = [word for line in VOLATILE.splitlines() if not line.startswith("#") for word in line.split()]
_names = frozenset(word for word in _words if not word.endswith("*"))
_beginnings = tuple(word[:-1] for word in _words if word.endswith("*"))


def is_volatile(name: str) -> bool:
    """Return whether the variable never decides content."""
    return name in _names or name.startswith(_beginnings)


def chosen(
    environ: Mapping[str, str],
    patterns: Collection[str] | None,
    recorded: Iterable[str] | None,
    ignore: Collection[str],
) -> set[str]:
    """Return the names that count, set or not.

    Where the project has `patterns`, these decide: a plain name counts even if it is volatile. Else the names that were
    `recorded` count but for the volatile ones; where that is None, all that are set do, but for the volatile and the
    personal ones. Those in `ignore` never count: the steps get another value.
    """
    if patterns is not None:
        names = {pattern for pattern in patterns if not MAGIC.intersection(pattern)}
        names |= {name for name in environ for pattern in patterns if _matches(name, pattern)}
    elif recorded is not None:
        names = {name for name in recorded if not is_volatile(name)}
    else:
        names = {name for name in environ if name not in PERSONAL and not is_volatile(name)}
    return names.difference(ignore)


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) and not (pattern == "*" and is_volatile(name))
