#!/bin/sh
# embed.sh FILE... - the dashboard's files as the C table of ../web.h, on standard output.
set -eu
table=
number=0
printf '#include "coordinator/web/web.h"\n'
for file; do
	name=${file##*/}
	case $name in
	*.html) type='text/html' ;;
	*.js) type='text/javascript' ;;
	*.css) type='text/css' ;;
	*.svg) type='image/svg+xml' ;;
	*)
		echo "embed.sh: of what type is $file?" >&2
		exit 1
		;;
	esac
	case $name in
	index.html) path=/ ;;
	join.html) path=/join ;;
	*) path=/web/$name ;;
	esac
	tag=$(sha256sum "$file" | cut -c 1-16)
	number=$((number + 1))
	printf '\nstatic const unsigned char file_%s[] = {\n' "$number"
	od -An -v -tu1 "$file" | sed 's/^ *//; s/ \{1,\}/,/g; s/$/,/'
	printf '};\n'
	table="$table	{\"$path\", \"$type; charset=utf-8\", \"\\\\\"$tag\\\\\"\", file_$number, sizeof(file_$number)},
"
done
printf '\nconst struct web_file web_files[] = {\n%b	{0},\n};\n' "$table"
