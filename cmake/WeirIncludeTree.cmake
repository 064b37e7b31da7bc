# <weir/ring/spsc.h> means ring/spsc.h, in the tree as installed: a folder of links in the build tree.

set(weir_include_dirs "${PROJECT_BINARY_DIR}/include;${PROJECT_BINARY_DIR}/generated")
file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/include/weir")
foreach(layer base naming ring ipc)
    file(CREATE_LINK "${PROJECT_SOURCE_DIR}/${layer}" "${PROJECT_BINARY_DIR}/include/weir/${layer}" SYMBOLIC)
endforeach()
file(CREATE_LINK "${PROJECT_SOURCE_DIR}/ipc/weir.h" "${PROJECT_BINARY_DIR}/include/weir/weir.h" SYMBOLIC)
configure_file(base/version.h.in generated/weir/base/version.h @ONLY)
