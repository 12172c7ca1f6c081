/* SPDX-License-Identifier: BSD-3-Clause */
/* gen_bytes.c - prints a file as an array of C: gen-bytes FILE NAME, run while building */
#include <stdio.h>

int main(int argc, char **argv)
{
	FILE *in = argc == 3 ? fopen(argv[1], "rb") : NULL;
	int c;

	if (!in) {
		fprintf(stderr, "gen-bytes: cannot read %s\n", argc == 3 ? argv[1] : "FILE NAME");
		return 1;
	}
	printf("/* Made by gen_bytes.c. */\n#pragma once\n\nstatic const unsigned char %s[] = {",
	       argv[2]);
	for (unsigned n = 0; (c = getc(in)) != EOF; n++)
		printf("%s%d,", n % 24 == 0 ? "\n\t" : "", c);
	puts("\n};");
	fclose(in);
	return fflush(stdout) == 0 ? 0 : 1;
}
