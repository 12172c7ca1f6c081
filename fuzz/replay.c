/* SPDX-License-Identifier: BSD-3-Clause */
/* replay.c - runs a fuzz target once over every file of the folders or files named */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static unsigned replayed;

static int replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data;
	size_t n;

	if (!f)
		return -1;
	fseek(f, 0, SEEK_END);
	n = (size_t)ftell(f);
	rewind(f);
	data = malloc(n ? n : 1);
	if (!data || fread(data, 1, n, f) != n)
		abort();
	fclose(f);
	LLVMFuzzerTestOneInput(data, n);
	free(data);
	replayed++;
	return 0;
}

static int replay(const char *path)
{
	struct dirent *entry;
	DIR *dir = opendir(path); /* clang 14's MSan does not know what stat() writes */
	int r = 0;

	if (!dir)
		return replay_file(path);
	while (r == 0 && (entry = readdir(dir))) {
		char name[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		r = replay_file(name);
	}
	closedir(dir);
	return r;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (replay(argv[i]) < 0) {
			perror(argv[i]);
			return 1;
		}
	}
	printf("%u inputs\n", replayed);
	return replayed > 0 ? 0 : 1; /* an empty corpus would be a test that cannot fail */
}
