# bash completion for ohemd, ohemctl and ohem-import

_ohemd()
{
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}

    case $before in
        --log-level) mapfile -t COMPREPLY < <(compgen -W 'error warning info debug' -- "$word") ;;
        --dataset | --config | --status | --state) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
        --listen) mapfile -t COMPREPLY < <(compgen -W 'ipc:// tcp://' -- "$word") ;;
        *) mapfile -t COMPREPLY < <(compgen -W '--dataset --config --listen --status --state --fresh
            --log-level --check-config --print-config --help --help-config --version' -- "$word") ;;
    esac
}

_ohemctl()
{
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}

    case $before in
        --socket | --control) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
        --job | -n | show | why | pardon | unpardon | reset) COMPREPLY=() ;;
        top) mapfile -t COMPREPLY < <(compgen -W '-n' -- "$word") ;;
        quarantine) mapfile -t COMPREPLY < <(compgen -W '--export' -- "$word") ;;
        *) mapfile -t COMPREPLY < <(compgen -W 'status jobs hist top show quarantine pardon unpardon
            why reset --socket --control --job --json --help --version' -- "$word") ;;
    esac
}

_ohem_import()
{
    local word=${COMP_WORDS[COMP_CWORD]}

    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W 'idx folder tar npy lmdb --help --version' -- "$word")
    elif [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W '--label-byte --member --database --limit --longtail
            --positive --share --noise --seed' -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}

complete -F _ohemd ohemd
complete -F _ohemctl ohemctl
complete -F _ohem_import ohem-import
