/* The page's files, embedded as they are. RS_D3_FILE comes from cmake/assets.cmake. */
    .section .rodata

    .macro asset name
    .global rs_asset_\name
    .type rs_asset_\name, @object
rs_asset_\name:
    .endm

    .macro asset_end name
    .global rs_asset_\name\()_end
rs_asset_\name\()_end:
    .byte 0
    .size rs_asset_\name, . - rs_asset_\name
    .endm

    asset html
    .incbin "reports/assets/page.html"
    asset_end html

    asset css
    .incbin "reports/assets/page.css"
    asset_end css

    asset js
    .incbin "reports/assets/page_data.js"
    .incbin "reports/assets/page_colour.js"
    .incbin "reports/assets/page_plot.js"
    .incbin "reports/assets/page_grid.js"
    .incbin "reports/assets/page_shell.js"
    .incbin "reports/assets/page_map.js"
    .incbin "reports/assets/page_heads.js"
    .incbin "reports/assets/page_purpose.js"
    .incbin "reports/assets/page_spectrum.js"
    .incbin "reports/assets/page_main.js"
    asset_end js

    asset comparison_html
    .incbin "reports/assets/comparison.html"
    asset_end comparison_html

    asset comparison_js
    .incbin "reports/assets/page_data.js"
    .incbin "reports/assets/page_colour.js"
    .incbin "reports/assets/page_plot.js"
    .incbin "reports/assets/page_grid.js"
    .incbin "reports/assets/page_shell.js"
    .incbin "reports/assets/comparison_plots.js"
    .incbin "reports/assets/comparison_main.js"
    asset_end comparison_js

    asset d3
    .incbin RS_D3_FILE
    asset_end d3

    asset d3_licence
    .incbin "reports/assets/d3-licence.txt"
    asset_end d3_licence

#if defined(__linux__) && defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
