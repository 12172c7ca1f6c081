# SPDX-License-Identifier: BSD-3-Clause
# The program itself knows what can follow: crosvm complete WORD...
function __crosvm_complete
	set -l words (commandline -opc)
	set -l word (commandline -ct)
	for line in ($words[1] complete $words[2..-1] "$word" 2>/dev/null)
		set -l parts (string split -m 1 \t -- $line)
		if test "$parts[1]" = :files
			set -l n (math (string length -- "$parts[2]") + 1)
			set -l typed (string sub -s $n -- "$word")
			for file in (__fish_complete_path "$typed")
				printf '%s%s\n' "$parts[2]" $file
			end
		else
			printf '%s\n' $line
		end
	end
end
complete -c crosvm -f -a '(__crosvm_complete)'
