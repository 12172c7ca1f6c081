# SPDX-License-Identifier: BSD-3-Clause
# crosvm(1) completion                                          -*- shell-script -*-
# The program itself knows what can follow: crosvm complete WORD...
_crosvm() {
	local i line prefix word='' cut='' IFS=$'\n'
	local -a words=()

	# Bash breaks words at "=" and ":"; together they are words again.
	for ((i = 1; i <= COMP_CWORD; i++)); do
		line=${COMP_WORDS[i]}
		if ((i > 1)) && [[ $line == [=:]* || ${COMP_WORDS[i - 1]} == [=:] ]]; then
			cut=${words[-1]}
			words[-1]+=$line
		else
			cut=''
			words+=("$line")
		fi
		[[ $line != [=:] ]] || cut+=$line
	done
	word=${words[-1]}
	COMPREPLY=()
	while IFS= read -r line; do
		if [[ $line == :files* ]]; then
			prefix=${line#*$'\t'}
			compopt -o filenames 2>/dev/null
			for line in $(compgen -f -- "${word#"$prefix"}"); do
				line=$prefix$line
				COMPREPLY+=("${line#"$cut"}")
			done
		else
			line=${line%%$'\t'*}
			[[ $line != *= ]] || compopt -o nospace 2>/dev/null
			COMPREPLY+=("${line#"$cut"}")
		fi
	done < <("${COMP_WORDS[0]}" complete "${words[@]}" 2>/dev/null)
}
complete -F _crosvm crosvm
