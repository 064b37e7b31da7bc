# install, the CMake package (weir::weir, weir::static) and pkg-config.

include(CMakePackageConfigHelpers)

install(TARGETS weir_shared weir_static EXPORT weir
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
foreach(header IN LISTS weir_public_headers)
    get_filename_component(layer ${header} DIRECTORY)
    install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/weir/${layer})
endforeach()
install(FILES "${PROJECT_BINARY_DIR}/generated/weir/base/version.h"
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/weir/base)
install(FILES ipc/weir.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/weir)

set(weir_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/weir)
install(EXPORT weir NAMESPACE weir:: FILE weirTargets.cmake DESTINATION ${weir_package_dir})
configure_package_config_file(cmake/weirConfig.cmake.in weirConfig.cmake INSTALL_DESTINATION ${weir_package_dir})
write_basic_package_version_file(weirConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/weirConfig.cmake" "${PROJECT_BINARY_DIR}/weirConfigVersion.cmake"
    DESTINATION ${weir_package_dir})

# The prefix is found from where the file lies, so that an installed tree can be moved.
file(RELATIVE_PATH weir_pc_to_prefix "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
configure_file(cmake/weir.pc.in weir.pc @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/weir.pc" DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
