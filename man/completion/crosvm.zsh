#compdef crosvm
# SPDX-License-Identifier: BSD-3-Clause
# The program itself knows what can follow: crosvm complete WORD...
_crosvm() {
	local line word about files=no prefix
	local -a whole whole_text part part_text

	for line in "${(@f)$($words[1] complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
		word=${line%%$'\t'*} about=${line#*$'\t'}
		if [[ $word == :files ]]; then
			files=yes prefix=$about
		elif [[ $word == *= ]]; then
			part+=("$word") part_text+=("$word  $about")
		elif [[ -n $word ]]; then
			whole+=("$word") whole_text+=("$word  $about")
		fi
	done
	(( $#whole )) && compadd -l -d whole_text -- "$whole[@]"
	(( $#part )) && compadd -S '' -l -d part_text -- "$part[@]"
	[[ $files == yes ]] || return
	[[ -z $prefix ]] || compset -P "${(b)prefix}" # what stands behind it is the file's name
	_files
}
_crosvm "$@"
