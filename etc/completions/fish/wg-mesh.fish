# fish completion of wg-mesh: it asks the program itself, so it never differs from it.
function __wg_mesh_words
    set -l words (commandline -opc)
    wg-mesh complete-words $words[2..-1] (commandline -ct) 2>/dev/null
end
complete -c wg-mesh -f -a '(__wg_mesh_words)'
complete -c wg-mesh -n '__fish_prev_arg_in --link-file --conf --config' -F
