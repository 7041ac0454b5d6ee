/* Many small files, as programs of 1 or several threads meet them.
 *
 *   files OPERATION DIR FILES SIZE THREADS SHUFFLED [LIMIT]
 *
 * OPERATION is read, stat or create; the files are d000/f00000, d001/f00001, …
 * as data.py makes them. In order means directory by directory. Prints files a
 * second; fails when a file is not there or has another size. With LIMIT only
 * so many files are visited. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DIRECTORIES = 100, BUFFER = 1 << 16 };

static const char *root;
static int size, limit;
static int *order;
static atomic_int next;
static atomic_long wrong;
static int (*operation)(const char *path, char *buffer);

static int read_one(const char *path, char *buffer) {
	int file = open(path, O_RDONLY);
	if (file < 0)
		return -1;
	struct stat found;
	long all = 0, got;
	int bad = fstat(file, &found);
	while ((got = read(file, buffer, BUFFER)) > 0)
		all += got;
	close(file);
	return bad || got < 0 || all != size || found.st_size != size;
}

static int stat_one(const char *path, char *buffer) {
	(void)buffer;
	struct stat found;
	return stat(path, &found) || found.st_size != size;
}

static uint64_t noise(uint64_t *state) {
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static int create_one(const char *path, char *buffer) {
	uint64_t state = 88172645463325252u ^ (uintptr_t)strtoul(strrchr(path, 'f') + 1, NULL, 10);
	for (int at = 0; at + 8 <= size; at += 8) {
		uint64_t word = noise(&state);
		memcpy(buffer + at, &word, 8);
	}
	int file = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
	if (file < 0)
		return -1;
	int bad = write(file, buffer, size) != size;
	return close(file) || bad;
}

static void *visit(void *unused) {
	char *buffer = malloc(BUFFER > size ? BUFFER : size);
	for (int at; (at = next++) < limit;) {
		char path[4096];
		snprintf(path, sizeof path, "%s/d%03d/f%05d", root, order[at] % DIRECTORIES, order[at]);
		if (operation(path, buffer) && wrong++ == 0)
			perror(path);
	}
	free(buffer);
	return unused;
}

static void arrange(int files, int shuffled) {
	order = malloc(sizeof *order * files);
	int at = 0;
	for (int directory = 0; directory < DIRECTORIES; directory++)
		for (int file = directory; file < files; file += DIRECTORIES)
			order[at++] = file;
	uint64_t state = 42424243;
	for (at = shuffled ? files - 1 : 0; at > 0; at--) {
		int other = noise(&state) % (at + 1), kept = order[at];
		order[at] = order[other];
		order[other] = kept;
	}
}

int main(int count, char **arguments) {
	if (count < 7) {
		fprintf(stderr, "usage: files read|stat|create DIR FILES SIZE THREADS SHUFFLED [LIMIT]\n");
		return 2;
	}
	int files = atoi(arguments[3]), threads = atoi(arguments[5]);
	root = arguments[2], size = atoi(arguments[4]);
	limit = count > 7 ? atoi(arguments[7]) : files;
	operation = *arguments[1] == 'r' ? read_one : *arguments[1] == 's' ? stat_one : create_one;
	arrange(files, atoi(arguments[6]));
	struct timespec began, ended;
	clock_gettime(CLOCK_MONOTONIC, &began);
	for (int directory = 0; operation == create_one && directory < DIRECTORIES; directory++) {
		char path[4096];
		snprintf(path, sizeof path, "%s/d%03d", root, directory);
		mkdir(path, 0755);
	}
	pthread_t running[64];
	for (int i = 0; i < threads; i++)
		pthread_create(&running[i], NULL, visit, NULL);
	for (int i = 0; i < threads; i++)
		pthread_join(running[i], NULL);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	double took = ended.tv_sec - began.tv_sec + (ended.tv_nsec - began.tv_nsec) / 1e9;
	printf("%.1f\n", limit / took);
	if (wrong)
		fprintf(stderr, "files: %ld of %d files are wrong\n", (long)wrong, limit);
	return wrong != 0;
}
