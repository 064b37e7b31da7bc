#include "support.h"

#include <criterion/criterion.h>
#include <string.h>

static const weir_status all[] = {
    WEIR_OK, WEIR_EMPTY, WEIR_FULL, WEIR_TIMEOUT, WEIR_CLOSED, WEIR_DIED, WEIR_AGAIN, WEIR_CANCELLED,
    WEIR_E_INVALID, WEIR_E_NAME, WEIR_E_NOT_FOUND, WEIR_E_EXISTS, WEIR_E_IN_USE, WEIR_E_PERMISSION,
    WEIR_E_NO_SPACE, WEIR_E_NO_MEMORY, WEIR_E_TOO_LARGE, WEIR_E_TOO_SMALL, WEIR_E_MISMATCH, WEIR_E_VERSION,
    WEIR_E_NOT_WEIR, WEIR_E_CORRUPT, WEIR_E_FORKED, WEIR_E_BUSY, WEIR_E_STATE, WEIR_E_UNSUPPORTED, WEIR_E_OS,
    WEIR_E_EMPTY_FILE, WEIR_E_FILE_SHORT, WEIR_E_ACCESS, WEIR_E_RANGE, WEIR_E_ALIGNMENT,
};

Test(status, every_status_has_a_name_and_a_text_of_its_own)
{
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        cr_assert_eq(strncmp(weir_status_name(all[i]), "WEIR_", 5), 0, "status %d", all[i]);
        for (size_t j = 0; j < i; j++) {
            cr_assert_str_neq(weir_status_name(all[i]), weir_status_name(all[j]));
            cr_assert_str_neq(weir_status_text(all[i]), weir_status_text(all[j]));
        }
    }
}

Test(status, a_number_that_is_no_status_is_unknown_and_not_null)
{
    cr_assert_str_eq(weir_status_text((weir_status)-1000), "unknown status");
    cr_assert_str_eq(weir_status_name((weir_status)99), "unknown status");
}

Test(status, the_running_version_is_the_one_compiled_against)
{
    cr_assert_str_eq(weir_version(), WEIR_VERSION);
}

Test(status, there_is_no_detail_before_the_first_fault_and_the_particulars_after_it)
{
    weir_name name;
    cr_assert_str_eq(weir_error_detail(), "");
    cr_assert_eq(weir_name_parse(&name, "Local/a b"), WEIR_E_NAME);
    cr_assert_not_null(strstr(weir_error_detail(), "0x20"));
}
