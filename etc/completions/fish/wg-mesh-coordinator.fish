# fish completion of wg-mesh-coordinator: it asks the program itself, so it never differs from it.
function __wg_mesh_coordinator_words
    set -l words (commandline -opc)
    wg-mesh-coordinator complete-words $words[2..-1] (commandline -ct) 2>/dev/null
end
complete -c wg-mesh-coordinator -f -a '(__wg_mesh_coordinator_words)'
complete -c wg-mesh-coordinator -n '__fish_seen_subcommand_from check test diff apply backup restore' -F
complete -c wg-mesh-coordinator -n '__fish_prev_arg_in --config --policy' -F
