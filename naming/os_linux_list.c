/* naming/os_linux_list.c - looking at the sections that are there: list, stat, clean, and the sweep of every open. */
#include <weir/base/fail.h>
#include <weir/naming/list.h>
#include <weir/naming/os_linux.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define SWEEP_LIVE_MAX 32 /* names in use, or persistent, that one sweep looks at */
#define BLOCK 16384       /* bytes of directory read at once */

/* ---- taking stale ones away ---- */

/* Looks at one name as an opener would.  True: it was stale, and is gone; *used: somebody uses it, or it persists. */
static bool sweep_one(struct weir_place *place, const weir_name *name, bool *used)
{
    static const weir_section_options any = { .mode = 0777 };
    weir_section_facts facts;
    struct stat st;
    int fd = -1;
    bool removed = false;
    weir_place_name(place, name);
    *used = false;
    if (weir_linux_open_file(place, &any, &fd) == WEIR_OK && weir_linux.fstat(fd, &st) == 0 &&
        st.st_uid == geteuid()) {
        weir_status status = WEIR_OK;
        if (weir_lock_set(fd, F_WRLCK, WEIR_LIFE_FIRST, WEIR_RANGE_LEN) == 0)
            status = weir_linux_remove_stale(place, fd, name, false, &facts);
        removed = status == WEIR_E_NOT_FOUND;
        *used = status == WEIR_OK;
    }
    if (fd >= 0)
        (void)weir_linux.close(fd);
    return removed;
}

/* All that it meets until it has met SWEEP_LIVE_MAX in use, beginning at a random one of the first directory block, so
 * that short-lived processes do not look at the same few for ever.  Not at what was asked for: who asks looks itself. */
static void sweep(struct weir_place *place, weir_scope scope, const weir_name *asked)
{
    char block[BLOCK] __attribute__((aligned(8)));
    int live = 0;
    ssize_t len = weir_linux.getdents(place->dir, block, sizeof block);
    /* Where in the block to begin; a second pass takes what stands before. */
    ssize_t from = 0, skip = len > 0 ? weir_linux_now_ns() / 1000 % len : 0;
    while (len > 0 && from < skip)
        from += ((struct dirent64 *)(void *)(block + from))->d_reclen;
    for (int pass = 0; pass < 2; pass++) {
        ssize_t at = pass == 0 ? from : 0, end = pass == 0 ? len : from;
        while (at < end && live < SWEEP_LIVE_MAX) {
            struct dirent64 *entry = (struct dirent64 *)(void *)(block + at);
            at += entry->d_reclen;
            weir_name name;
            bool used;
            if ((entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN) &&
                weir_place_of_file(entry->d_name, scope, &name) && strcmp(name.text, asked->text) != 0) {
                (void)sweep_one(place, &name, &used);
                live += used;
            }
        }
    }
}

void weir_linux_sweep(struct weir_place *place, bool opened, const weir_name *asked)
{
    struct weir_place other;
    if (opened) /* or it may be another's directory */
        sweep(place, asked->scope, asked);
    if (place->base >= 0 && asked->scope == WEIR_LOCAL) {
        other.base = -1;
        other.dir = place->base; /* it stays the place's */
        other.path = place->path;
        other.local[0] = 0;
        sweep(&other, WEIR_GLOBAL, asked);
    } else if (asked->scope == WEIR_GLOBAL) {
        if (weir_place_open(&other, place->path, WEIR_LOCAL, false) == WEIR_OK)
            sweep(&other, WEIR_LOCAL, asked);
        weir_place_close(&other);
    }
}

bool weir_linux_sweep_name(const char *path, const weir_name *name)
{
    struct weir_place place;
    bool used;
    bool removed = weir_place_open(&place, path, name->scope, false) == WEIR_OK && sweep_one(&place, name, &used);
    weir_place_close(&place);
    return removed;
}

/* ---- looking at one ---- */

static bool count_one(int64_t byte, void *arg)
{
    (void)byte;
    ++*(uint32_t *)arg;
    return true;
}

static int look_at_slots(int fd, weir_section_info *info)
{
    uint64_t words[WEIR_SLOTS_MAX];
    ssize_t len = weir_linux.pread(fd, words, info->slots * sizeof words[0], offsetof(weir_section_layout, slot));
    for (uint32_t i = 0; len > 0 && i < info->slots && (i + 1) * sizeof words[0] <= (size_t)len; i++) {
        uint32_t state = words[i] & 0xffff;
        short held = F_UNLCK;
        if (state == WEIR_SLOT_PRESENT && weir_lock_ask(fd, WEIR_SLOT_FIRST + i, 1, &held) != 0)
            return -1;
        info->present += held != F_UNLCK;
        info->dead += state == WEIR_SLOT_DEAD || (state == WEIR_SLOT_PRESENT && held == F_UNLCK);
    }
    return len < 0 ? -1 : 0;
}

/* Counts the bits of the map of commitments, without mapping it; -1 with errno. */
static int count_committed(int fd, const weir_section_facts *facts, uint64_t *bytes)
{
    *bytes = facts->size;
    if ((facts->flags & WEIR_SECTION_RESERVED) == 0)
        return 0;
    uint64_t granules = weir_section_granules(facts->size), set = 0, word, block[512];
    uint64_t last = 0; /* the last granule may be shorter than the others */
    for (uint64_t at = 0; at * 64 < granules; at += 512) {
        memset(block, 0, sizeof block);
        if (weir_linux.pread(fd, block, sizeof block, (off_t)(WEIR_SECTION_HEADER + at * 8)) < 0)
            return -1;
        for (uint64_t i = 0; i < 512 && (at + i) * 64 < granules; i++) {
            word = block[i];
            if (granules - (at + i) * 64 < 64)
                word &= (UINT64_C(1) << (granules - (at + i) * 64)) - 1;
            set += (uint64_t)__builtin_popcountll(word);
            last = word >> (granules - 1) % 64 & 1;
        }
    }
    uint64_t missing = granules * WEIR_COMMIT_GRANULE - facts->size;
    *bytes = set * WEIR_COMMIT_GRANULE - (last != 0 ? missing : 0);
    return 0;
}

static void look_inside(int fd, const weir_name *name, weir_section_info *info)
{
    weir_section_facts facts;
    short found;
    info->why = weir_linux_inspect(fd, name, name->text, &facts);
    if (info->why == WEIR_OK && weir_lock_ask(fd, WEIR_LIFE_FIRST, WEIR_RANGE_LEN, &found) != 0)
        info->why = weir_lock_fail(name->text);
    if (info->why != WEIR_OK)
        return;
    info->version = facts.version;
    info->content = facts.content;
    info->flags = facts.flags & (WEIR_PERSISTENT | WEIR_RESERVE);
    info->slots = facts.slots;
    info->size = facts.size;
    info->state = found != F_UNLCK                              ? WEIR_SECTION_LIVE
                  : (facts.flags & WEIR_SECTION_PERSISTENT) != 0 ? WEIR_SECTION_UNUSED
                                                                 : WEIR_SECTION_STALE;
    if (facts.making)
        return;
    if (count_committed(fd, &facts, &info->committed) != 0 ||
        weir_lock_walk(fd, WEIR_LIFE_FIRST, WEIR_RANGE_LEN, count_one, &info->users) != 0 ||
        weir_lock_walk(fd, WEIR_LOOK_FIRST, WEIR_RANGE_LEN, count_one, &info->observers) != 0 ||
        look_at_slots(fd, info) != 0) {
        info->why = weir_lock_fail(name->text);
        info->state = WEIR_SECTION_STRANGE;
    }
}

/* What stands there and may not be looked at, or has gone meanwhile. */
static weir_status strange(const struct weir_place *place, const char *file, weir_status status, const char *why)
{
    status = weir_place_squatted(place, place->dir, file, status, why);
    return status == WEIR_LINUX_AGAIN ? WEIR_E_NOT_FOUND : status;
}

/* Opens a name to look at it, whoever's it is. */
static weir_status open_to_look(const struct weir_place *place, const char *file, struct stat *st, int *fd)
{
    *fd = -1;
    if (weir_linux.fstatat(place->dir, file, st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? WEIR_E_NOT_FOUND : weir_linux_fail("cannot look at", file);
    if (!S_ISREG(st->st_mode))
        return strange(place, file, WEIR_E_NOT_WEIR, "no weir section");
    *fd = weir_linux_off_standard(
        weir_linux.openat(place->dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0));
    if (*fd >= 0)
        return weir_linux.fstat(*fd, st) == 0 ? WEIR_OK : weir_linux_fail("cannot look at", file);
    return errno == ENOENT ? WEIR_E_NOT_FOUND
           : errno == EACCES ? strange(place, file, WEIR_E_PERMISSION, "you may not open it")
                             : weir_linux_fail("cannot open", file);
}

/* NOT_FOUND: it is gone. */
static weir_status look(struct weir_place *place, const weir_name *name, weir_section_info *info)
{
    struct stat st = { .st_mode = 0 };
    int fd;
    weir_place_name(place, name);
    memset(info, 0, sizeof *info);
    memcpy(info->name, name->text, sizeof info->name);
    info->state = WEIR_SECTION_STRANGE;
    info->why = open_to_look(place, place->file, &st, &fd);
    if (info->why == WEIR_E_NOT_FOUND)
        return WEIR_E_NOT_FOUND;
    info->mode = st.st_mode & 07777;
    info->owner = st.st_uid;
    info->group = st.st_gid;
    info->resident = (uint64_t)st.st_blocks * 512;
    if (info->why == WEIR_OK)
        look_inside(fd, name, info);
    if (fd >= 0)
        (void)weir_linux.close(fd);
    return WEIR_OK;
}

weir_status weir_section_stat(const char *text, weir_section_info *out)
{
    int saved = errno;
    struct weir_detail detail;
    weir_detail_save(&detail);
    weir_name name;
    weir_section_info info;
    struct weir_place place = { .base = -1, .dir = -1 };
    weir_status status = weir_name_parse(&name, text);
    char *path = status == WEIR_OK ? weir_linux_shm_dir(&status) : NULL;
    if (path != NULL) {
        status = weir_place_open(&place, path, name.scope, false);
        if (status == WEIR_OK)
            status = look(&place, &name, &info);
        if (status == WEIR_E_NOT_FOUND || status == WEIR_LINUX_AGAIN)
            status = weir_fail(WEIR_E_NOT_FOUND, "%s: there is no section of that name in %s", name.text, path);
        weir_place_close(&place);
        free(path);
    }
    if (status == WEIR_OK) {
        *out = info;
        weir_detail_restore(&detail); /* what is strange about it is in info.why */
    }
    errno = saved;
    return status;
}

/* ---- looking at all ---- */

struct walk {
    struct weir_place place;
    weir_scope scope;
    /* one name; false ends the walk */
    bool (*name)(struct walk *walk, const weir_name *name);
    bool orphans; /* companions without a section are removed as well */
    weir_status status; /* what was met on the way and is nobody's but the walk's */
    weir_section_info_visit visit;
    void *arg;
};

/* Reads on in a directory; 0: there is no more, or the walk's status says why not. */
static ssize_t read_directory(struct walk *walk, int dir, char *block)
{
    ssize_t len = weir_linux.getdents(dir, block, BLOCK);
    if (len < 0 && errno != ENOENT && walk->status == WEIR_OK) /* ENOENT: it was removed */
        walk->status = weir_linux_fail("cannot read the directory", walk->place.path);
    return len > 0 ? len : 0;
}

/* Removes a companion of this user whose section is gone. */
static void visit_companion(struct walk *walk, const char *file)
{
    weir_name name;
    if (!weir_place_of_companion(file, walk->scope, &name) || weir_linux_enter() != WEIR_OK)
        return;
    weir_place_name(&walk->place, &name);
    weir_linux_remove_orphan(&walk->place, file);
    weir_linux_leave();
}

/* Visits the names in a directory.  False: the walk is over. */
static bool walk_directory(struct walk *walk)
{
    char block[BLOCK] __attribute__((aligned(8)));
    for (ssize_t len; (len = read_directory(walk, walk->place.dir, block)) > 0;) {
        for (ssize_t at = 0; at < len;) {
            struct dirent64 *entry = (struct dirent64 *)(void *)(block + at);
            at += entry->d_reclen;
            weir_name name;
            if (walk->orphans)
                visit_companion(walk, entry->d_name);
            if (entry->d_name[0] != '.' && weir_place_of_file(entry->d_name, walk->scope, &name) &&
                !walk->name(walk, &name))
                return false;
        }
    }
    return true;
}

/* Visits other users' directories, as far as they can be entered.  False: the walk is over. */
static bool walk_other_users(struct walk *walk)
{
    char block[BLOCK] __attribute__((aligned(8)));
    char own[64];
    bool go_on = true;
    (void)snprintf(own, sizeof own, WEIR_PLACE_LOCAL "%u", (unsigned)geteuid());
    int base = walk->place.base;
    for (ssize_t len; go_on && (len = read_directory(walk, base, block)) > 0;) {
        for (ssize_t at = 0; go_on && at < len;) {
            struct dirent64 *entry = (struct dirent64 *)(void *)(block + at);
            at += entry->d_reclen;
            if (strncmp(entry->d_name, WEIR_PLACE_LOCAL, sizeof WEIR_PLACE_LOCAL - 1) != 0 ||
                strcmp(entry->d_name, own) == 0)
                continue;
            int dir = weir_linux.openat(base, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
            bool barred = errno == EACCES || errno == EPERM || errno == ENOENT || errno == ENOTDIR || errno == ELOOP;
            if (dir < 0 && !barred && walk->status == WEIR_OK)
                walk->status = weir_linux_fail("cannot open", entry->d_name);
            if (dir < 0)
                continue;
            walk->place.dir = dir;
            (void)snprintf(walk->place.local, sizeof walk->place.local, "%s", entry->d_name);
            go_on = walk_directory(walk);
            walk->place.dir = base;
            (void)weir_linux.close(dir);
        }
    }
    return go_on;
}

/* Global names, this user's Local ones, and with others those of other users. */
static weir_status walk_all(struct walk *walk, bool others)
{
    int saved = errno;
    struct weir_detail detail, first;
    weir_detail_save(&detail);
    char *path = weir_linux_shm_dir(&walk->status);
    if (path == NULL) {
        errno = saved;
        return walk->status;
    }
    bool go_on = true;
    for (int scope = WEIR_LOCAL; scope <= WEIR_GLOBAL && go_on; scope++) {
        bool well = walk->status == WEIR_OK;
        walk->scope = (weir_scope)scope;
        weir_status opened = weir_place_open(&walk->place, path, walk->scope, false);
        if (opened == WEIR_OK)
            go_on = walk_directory(walk);
        else if (opened != WEIR_E_NOT_FOUND && opened != WEIR_LINUX_AGAIN && well)
            walk->status = opened;
        if (well && walk->status != WEIR_OK) /* what is strange about sections later on is no part of it */
            weir_detail_save(&first);
        weir_place_close(&walk->place);
    }
    if (go_on && others) {
        bool well = walk->status == WEIR_OK;
        walk->scope = WEIR_LOCAL;
        weir_status opened = weir_place_open(&walk->place, path, WEIR_GLOBAL, false);
        if (opened == WEIR_OK)
            (void)walk_other_users(walk);
        else if (well)
            walk->status = opened;
        if (well && walk->status != WEIR_OK)
            weir_detail_save(&first);
        weir_place_close(&walk->place);
    }
    free(path);
    errno = saved;
    weir_detail_restore(walk->status == WEIR_OK ? &detail : &first);
    return walk->status;
}

static bool list_name(struct walk *walk, const weir_name *name)
{
    weir_section_info info;
    return look(&walk->place, name, &info) != WEIR_OK || walk->visit(&info, walk->arg);
}

weir_status weir_section_list(weir_section_info_visit visit, void *arg)
{
    if (visit == NULL)
        return weir_fail(WEIR_E_INVALID, "no visit for the sections");
    struct walk walk = { .name = list_name, .visit = visit, .arg = arg };
    return walk_all(&walk, true);
}

static bool clean_name(struct walk *walk, const weir_name *name)
{
    weir_section_info info;
    bool used;
    if (look(&walk->place, name, &info) != WEIR_OK || info.state != WEIR_SECTION_STALE || weir_linux_enter() != WEIR_OK)
        return true;
    bool removed = sweep_one(&walk->place, name, &used);
    weir_linux_leave();
    return !removed || walk->visit == NULL || walk->visit(&info, walk->arg);
}

weir_status weir_section_clean(weir_section_info_visit visit, void *arg)
{
    struct walk walk = { .name = clean_name, .visit = visit, .arg = arg, .orphans = true };
    return walk_all(&walk, false);
}

/* ---- who has one ---- */

/* Opens a section by its name to look at it; the caller closes *fd. */
static weir_status open_by_name(const char *text, struct stat *st, int *fd, weir_section_facts *facts)
{
    weir_name name;
    struct weir_place place = { .base = -1, .dir = -1 };
    weir_status status = weir_name_parse(&name, text);
    char *path = status == WEIR_OK ? weir_linux_shm_dir(&status) : NULL;
    *fd = -1;
    if (path == NULL)
        return status;
    status = weir_place_open(&place, path, name.scope, false);
    if (status == WEIR_OK) {
        weir_place_name(&place, &name);
        status = open_to_look(&place, place.file, st, fd);
    }
    if (status == WEIR_E_NOT_FOUND || status == WEIR_LINUX_AGAIN)
        status = weir_fail(WEIR_E_NOT_FOUND, "%s: there is no section of that name in %s", name.text, path);
    if (status == WEIR_OK)
        status = weir_linux_inspect(*fd, &name, name.text, facts);
    weir_place_close(&place);
    free(path);
    if (status != WEIR_OK && *fd >= 0)
        (void)weir_linux.close(*fd);
    return status;
}

struct user_walk {
    weir_section_user_visit visit;
    void *arg;
    bool observers, over;
};

static bool visit_user(int64_t byte, void *arg)
{
    struct user_walk *walk = arg;
    weir_section_user user = { .pid = WEIR_LIFE_PID(byte), .observer = walk->observers };
    walk->over = !walk->visit(&user, walk->arg);
    return !walk->over;
}

weir_status weir_section_users(const char *name, weir_section_user_visit visit, void *arg)
{
    int saved = errno;
    struct stat st;
    weir_section_facts facts;
    int fd;
    weir_status status = open_by_name(name, &st, &fd, &facts);
    if (status == WEIR_OK) {
        struct user_walk walk = { .visit = visit, .arg = arg };
        int result = weir_lock_walk(fd, WEIR_LIFE_FIRST, WEIR_RANGE_LEN, visit_user, &walk);
        walk.observers = true;
        if (result == 0 && !walk.over)
            result = weir_lock_walk(fd, WEIR_LOOK_FIRST, WEIR_RANGE_LEN, visit_user, &walk);
        if (result != 0)
            status = weir_lock_fail(name);
        (void)weir_linux.close(fd);
    }
    errno = saved;
    return status;
}

/* One line of /proc/PID/maps as a piece of the section; *none: nothing of it can be touched.  False: it is of something
 * else. */
static bool parse_mapping(const char *line, const struct stat *st, uint64_t content_off, weir_section_mapping *out,
                          bool *none)
{
    uint64_t from, to, offset, inode;
    unsigned major_number, minor_number;
    char rights[8];
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %x:%x %" SCNu64, &from, &to, rights, &offset,
               &major_number, &minor_number, &inode) != 7)
        return false;
    if (inode != st->st_ino || major_number != major(st->st_dev) || minor_number != minor(st->st_dev))
        return false;
    if (offset < content_off) { /* the header's own mapping, and perhaps a view that lies right behind it */
        if (to - from <= content_off - offset)
            return false;
        from += content_off - offset;
        offset = content_off;
    }
    *none = rights[0] != 'r';
    out->base = from;
    out->size = to - from;
    out->offset = offset - content_off;
    out->access = strchr(rights, 'p') != NULL   ? WEIR_COPY_ON_WRITE
                  : strchr(rights, 'w') != NULL ? WEIR_READ_WRITE
                                                : WEIR_READ_ONLY;
    return true;
}

/* Visits what one process has mapped; pieces of one view, which what is not committed splits, as one. */
static bool walk_process(uint32_t pid, const struct stat *st, const weir_section_facts *facts,
                         weir_section_mapping_visit visit, void *arg)
{
    char path[64], *line = NULL;
    size_t room = 0;
    (void)snprintf(path, sizeof path, "/proc/%u/maps", pid);
    FILE *maps = fopen(path, "re");
    if (maps == NULL)
        return true;
    uint64_t content_off = weir_section_content_off(facts->flags, facts->size);
    weir_section_mapping piece = { .pid = pid }, whole = { .size = 0 };
    bool go_on = true, none = false, whole_none = false;
    while (go_on && getline(&line, &room, maps) > 0) {
        if (!parse_mapping(line, st, content_off, &piece, &none))
            continue;
        if (piece.offset + piece.size > facts->size) /* the last page's rest */
            piece.size = piece.offset < facts->size ? facts->size - piece.offset : 0;
        if (whole.size != 0 && piece.base == whole.base + whole.size && piece.offset == whole.offset + whole.size &&
            (piece.access == whole.access ||
             ((none || whole_none) && (piece.access == WEIR_COPY_ON_WRITE) == (whole.access == WEIR_COPY_ON_WRITE)))) {
            whole.size += piece.size;
            if (whole_none)
                whole.access = piece.access;
            whole_none = whole_none && none;
            continue;
        }
        if (whole.size != 0)
            go_on = visit(&whole, arg);
        whole = piece;
        whole_none = none;
    }
    if (go_on && whole.size != 0)
        go_on = visit(&whole, arg);
    free(line);
    (void)fclose(maps);
    return go_on;
}

weir_status weir_section_mappings(const char *name, weir_section_mapping_visit visit, void *arg)
{
    int saved = errno;
    struct stat st;
    weir_section_facts facts;
    int fd;
    weir_status status = open_by_name(name, &st, &fd, &facts);
    if (status == WEIR_OK) {
        (void)weir_linux.close(fd);
        DIR *proc = opendir("/proc");
        bool go_on = proc != NULL && access("/proc/self/maps", R_OK) == 0;
        if (!go_on)
            status = weir_fail(WEIR_E_UNSUPPORTED, "who has %s mapped is in /proc, which is not mounted", name);
        for (struct dirent *entry; go_on && (entry = readdir(proc)) != NULL;) {
            char *end;
            unsigned long pid = strtoul(entry->d_name, &end, 10);
            if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9' && *end == 0)
                go_on = walk_process((uint32_t)pid, &st, &facts, visit, arg);
        }
        if (proc != NULL)
            (void)closedir(proc);
    }
    errno = saved;
    return status;
}
